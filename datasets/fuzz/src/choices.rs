//! A fuzzer's bytes as decisions: where they end, and where they are 0, everything is as it should be.

/// Bytes that are used up one decision after the other.
pub struct Choices<'a>(&'a [u8]);

impl<'a> Choices<'a> {
    /// Decisions out of `data`.
    pub fn new(data: &'a [u8]) -> Self {
        Choices(data)
    }

    /// The next byte, 0 behind the last.
    pub fn byte(&mut self) -> u8 {
        match self.0.split_first() {
            Some((&byte, rest)) => {
                self.0 = rest;
                byte
            }
            None => 0,
        }
    }

    /// One of 0 to `count` - 1.
    pub fn below(&mut self, count: u8) -> u8 {
        self.byte() % count
    }

    /// One of 0 to `count`: 0 seven times of eight, so that a pack may be right but for one thing.
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

    /// As many bytes as the next one says.
    pub fn bytes(&mut self) -> Vec<u8> {
        (0..self.byte()).map(|_| self.byte()).collect()
    }
}
