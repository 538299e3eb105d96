//! Bytes as hexadecimal text.

/// Reads pairs of digits in any grouping; `0x`, commas, colons and semicolons are passed over.
pub(crate) fn parse(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    for word in text.split(|c: char| c.is_whitespace() || matches!(c, ',' | ':' | ';' | '[' | ']')) {
        let digits = word.strip_prefix("0x").or(word.strip_prefix("0X")).unwrap_or(word);
        if digits.len() % 2 == 1 {
            return Err(format!("{word:?} has an odd number of digits"));
        }
        for pair in digits.as_bytes().chunks(2) {
            let value =
                std::str::from_utf8(pair).ok().filter(|pair| pair.bytes().all(|digit| digit.is_ascii_hexdigit()));
            let byte = value.and_then(|pair| u8::from_str_radix(pair, 16).ok());
            bytes.push(byte.ok_or_else(|| format!("{word:?} is not hexadecimal"))?);
        }
    }
    Ok(bytes)
}

/// `30 06 00`
pub(crate) fn show(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(" ")
}
