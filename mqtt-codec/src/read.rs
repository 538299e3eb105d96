//! Reading the data types of section 1.5 out of one whole frame. Nothing in here can ask for more bytes.
use crate::error::Fault;
use crate::rules::{self, Rule};
use crate::{PacketId, TopicName, Utf8};
use mqtt_topic::{NameErrorKind, TextErrorKind, check_text};
use nom::bytes::complete::take;
use nom::number::complete::{be_u8, be_u16, be_u32};

/// What reading costs: a step for each field, and one for each byte of a text that is judged. The tests of this crate count them.
#[inline(always)]
pub(crate) fn spend(_steps: usize) {
    #[cfg(test)]
    crate::linear::count(_steps);
}

pub(crate) type Parsed<T> = Result<T, Fault>;

/// What is left of a frame, or of a section in it.
#[derive(Clone, Copy)]
pub(crate) struct Cursor<'a> {
    rest: &'a [u8],
    /// Bytes of the frame behind the end of `rest`: more than 0 inside a section.
    behind: usize,
}

impl<'a> Cursor<'a> {
    #[inline]
    pub(crate) const fn new(frame: &'a [u8]) -> Self {
        Self { rest: frame, behind: 0 }
    }

    /// What is left.
    #[inline]
    pub(crate) const fn rest(self) -> &'a [u8] {
        self.rest
    }

    #[inline]
    pub(crate) const fn is_empty(self) -> bool {
        self.rest.is_empty()
    }

    /// The fault of breaking `rule` here.
    #[inline]
    pub(crate) const fn fault(self, rule: &'static Rule) -> Fault {
        Fault { rule, left: self.rest.len() + self.behind }
    }

    #[inline(always)]
    pub(crate) fn u8(&mut self) -> Parsed<u8> {
        spend(1);
        let Ok((rest, value)) = be_u8::<_, ()>(self.rest) else {
            return Err(self.fault(&rules::LENGTH_SHORT));
        };
        self.rest = rest;
        Ok(value)
    }

    #[inline(always)]
    pub(crate) fn u16(&mut self) -> Parsed<u16> {
        spend(1);
        let Ok((rest, value)) = be_u16::<_, ()>(self.rest) else {
            return Err(self.fault(&rules::LENGTH_SHORT));
        };
        self.rest = rest;
        Ok(value)
    }

    #[inline(always)]
    pub(crate) fn u32(&mut self) -> Parsed<u32> {
        spend(1);
        let Ok((rest, value)) = be_u32::<_, ()>(self.rest) else {
            return Err(self.fault(&rules::LENGTH_SHORT));
        };
        self.rest = rest;
        Ok(value)
    }

    #[inline(always)]
    pub(crate) fn take(&mut self, len: usize) -> Parsed<&'a [u8]> {
        spend(1);
        let Ok((rest, taken)) = take::<_, _, ()>(len)(self.rest) else {
            return Err(self.fault(&rules::LENGTH_SHORT));
        };
        self.rest = rest;
        Ok(taken)
    }

    /// A Variable Byte Integer (section 1.5.5, v4 section 2.2.3).
    #[inline(always)]
    pub(crate) fn vbi(&mut self) -> Parsed<u32> {
        // most are of one byte, most others of two
        match *self.rest {
            [a @ ..0x80, ref rest @ ..] => {
                spend(1);
                self.rest = rest;
                return Ok(u32::from(a));
            }
            [a, b @ 1..0x80, ref rest @ ..] => {
                spend(2);
                self.rest = rest;
                return Ok(u32::from(a & 0x7F) | u32::from(b) << 7);
            }
            _ => {}
        }
        let (value, behind) = self.long_vbi()?;
        *self = behind;
        Ok(value)
    }

    /// The value, and what is left behind it: a caller whose cursor is lent has to keep it in memory.
    #[inline(never)]
    fn long_vbi(mut self) -> Parsed<(u32, Self)> {
        let mut value = 0;
        for shift in [0, 7, 14, 21] {
            let at = self;
            let byte = self.u8()?;
            value |= u32::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                // v5 [MQTT-1.5.5-1]: the fewest bytes possible.
                return if byte == 0 && shift > 0 { Err(at.fault(&rules::VBI_LONG)) } else { Ok((value, self)) };
            }
        }
        // v5 [X5-VBI-1]: a continuation bit on the fourth byte is malformed already, whatever would follow.
        Err(self.fault(&rules::VBI_FIVE))
    }

    /// Binary Data (section 1.5.6): a length of two bytes, and that many bytes.
    #[inline(always)]
    pub(crate) fn binary(&mut self) -> Parsed<&'a [u8]> {
        spend(2);
        let Some((len, rest)) = self.rest.split_first_chunk() else {
            return Err(self.fault(&rules::LENGTH_SHORT));
        };
        self.rest = rest;
        let Some((bytes, rest)) = rest.split_at_checked(usize::from(u16::from_be_bytes(*len))) else {
            return Err(self.fault(&rules::LENGTH_SHORT));
        };
        self.rest = rest;
        Ok(bytes)
    }

    /// A UTF-8 string (section 1.5.4, v4 section 1.5.3).
    #[inline(always)]
    pub(crate) fn text(&mut self) -> Parsed<Utf8<'a>> {
        self.text_or(&rules::UTF8)
    }

    /// A UTF-8 string that breaks `not_utf8` if it is not one.
    #[inline(always)]
    pub(crate) fn text_or(&mut self, not_utf8: &'static Rule) -> Parsed<Utf8<'a>> {
        let bytes = self.binary()?;
        spend(bytes.len());
        match check_text(bytes) {
            Ok(()) => Ok(Utf8::checked(bytes)),
            // v5 [MQTT-1.5.4-1], v5 [MQTT-1.5.4-2], v4 [MQTT-1.5.3-1], v4 [MQTT-1.5.3-2]: whatever field it is, a bad string ends the connection.
            // v5 [MQTT-1.5.4-3], v4 [MQTT-1.5.3-3]: U+FEFF is a character like any other. v5 [X5-UTF-1], v4 [X311-UTF-1]: so are control characters.
            Err(error) => {
                let rule = if matches!(error.kind, TextErrorKind::Nul) { &rules::NUL } else { not_utf8 };
                Err(self.fault_in(bytes, error.offset, rule))
            }
        }
    }

    /// A topic name. `empty`, `wildcard` and `not_utf8` are what it breaks if it is none; U+0000 is the same rule everywhere.
    #[inline(always)]
    pub(crate) fn topic(
        &mut self,
        empty: &'static Rule,
        wildcard: &'static Rule,
        not_utf8: &'static Rule,
    ) -> Parsed<TopicName<'a>> {
        let bytes = self.binary()?;
        spend(bytes.len());
        match TopicName::from_bytes(bytes) {
            Ok(name) => Ok(name),
            Err(error) => {
                let rule = match error.kind {
                    NameErrorKind::Empty => empty,
                    NameErrorKind::Wildcard => wildcard,
                    NameErrorKind::Nul => &rules::NUL,
                    _ => not_utf8,
                };
                Err(self.fault_in(bytes, error.offset, rule))
            }
        }
    }

    /// A packet identifier.
    #[inline(always)]
    pub(crate) fn packet_id(&mut self) -> Parsed<PacketId> {
        let at = *self;
        // v5 [MQTT-2.2.1-3], v4 [MQTT-2.3.1-1]: never 0.
        PacketId::new(self.u16()?).ok_or(at.fault(&rules::PACKET_ID))
    }

    /// The next `len` bytes as a section of their own; `rule` is broken if they are not there.
    #[inline(always)]
    pub(crate) fn section(&mut self, len: usize, rule: &'static Rule) -> Parsed<Cursor<'a>> {
        let Some((section, rest)) = self.rest.split_at_checked(len) else {
            return Err(self.fault(rule));
        };
        self.rest = rest;
        Ok(Cursor { rest: section, behind: rest.len() + self.behind })
    }

    /// Takes all that is left.
    #[inline(always)]
    pub(crate) fn take_all(&mut self) -> &'a [u8] {
        core::mem::take(&mut self.rest)
    }

    /// Nothing may be left over.
    #[inline]
    pub(crate) fn finish(self) -> Parsed<()> {
        // v5 [X5-ERR-5]: what is left over has no meaning.
        self.finish_or(&rules::LENGTH_LONG)
    }

    /// Nothing may be left over, or `rule` is broken.
    #[inline]
    pub(crate) fn finish_or(self, rule: &'static Rule) -> Parsed<()> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.fault(rule)) }
    }

    /// The fault of breaking `rule` at `offset` of `field`, which was just read.
    #[cold]
    #[inline(never)]
    fn fault_in(self, field: &[u8], offset: usize, rule: &'static Rule) -> Fault {
        let here = self.fault(rule);
        Fault { left: here.left + field.len().saturating_sub(offset), ..here }
    }
}
