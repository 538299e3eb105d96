//! A text that lies in its place while it is short, so that comparing it takes no further look into memory.
use alloc::boxed::Box;

/// Up to `N` bytes in place, more on the heap.
pub(crate) enum Text<const N: usize> {
    Short { len: u8, bytes: [u8; N] },
    Long(Box<[u8]>),
}

impl<const N: usize> Text<N> {
    pub(crate) fn new(text: &[u8]) -> Self {
        const { assert!(N <= u8::MAX as usize) };
        let mut bytes = [0; N];
        match bytes.split_at_mut_checked(text.len()) {
            Some((short, _)) => {
                short.copy_from_slice(text);
                Self::Short { len: text.len() as u8, bytes } // at most N
            }
            None => Self::Long(text.into()),
        }
    }

    #[inline]
    pub(crate) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Short { len, bytes } => bytes.get(..usize::from(*len)).unwrap_or(bytes),
            Self::Long(text) => text,
        }
    }

    /// What `text` takes outside of its place.
    pub(crate) const fn heap(text: &[u8]) -> usize {
        if text.len() > N { text.len() } else { 0 }
    }
}
