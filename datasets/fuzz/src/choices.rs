//! Decisions from the bytes of a fuzzer. Bytes that are 0 or missing decide for the valid case.

/// The bytes that are not used yet.
pub struct Choices<'a>(&'a [u8]);

impl<'a> Choices<'a> {
    /// Decisions from `data`.
    pub fn new(data: &'a [u8]) -> Self {
        Choices(data)
    }

    /// The next byte, 0 after the last one.
    pub fn byte(&mut self) -> u8 {
        match self.0.split_first() {
            Some((&byte, rest)) => {
                self.0 = rest;
                byte
            }
            None => 0,
        }
    }

    /// A number from 0 to `count` - 1.
    pub fn below(&mut self, count: u8) -> u8 {
        self.byte() % count
    }

    /// A number from 0 to `count`. It is 0 in seven of eight cases, so that a pack may be valid but for one
    /// fault.
    pub fn fault(&mut self, count: u8) -> u8 {
        match self.byte() {
            byte if byte % 8 == 7 => 1 + byte / 8 % count,
            _ => 0,
        }
    }

    /// Eight bytes as a number.
    pub fn number(&mut self) -> u64 {
        u64::from_le_bytes(std::array::from_fn(|_| self.byte()))
    }

    /// The next byte as a length, then that many bytes.
    pub fn bytes(&mut self) -> Vec<u8> {
        (0..self.byte()).map(|_| self.byte()).collect()
    }
}
