//! Takes bytes off the front of a slice; running out is an error, never a panic.

/// There were fewer bytes than asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Truncated;

impl std::fmt::Display for Truncated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the bytes end too early")
    }
}

impl std::error::Error for Truncated {}

/// A slice and how much of it is left.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    left: &'a [u8],
}

macro_rules! big_endian {
    ($($name:ident: $type:ty),*) => {$(
        /// The next number, big-endian.
        #[inline]
        pub fn $name(&mut self) -> Result<$type, Truncated> {
            self.array().map(<$type>::from_be_bytes)
        }
    )*};
}

macro_rules! little_endian {
    ($($name:ident: $type:ty),*) => {$(
        /// The next number, little-endian.
        #[inline]
        pub fn $name(&mut self) -> Result<$type, Truncated> {
            self.array().map(<$type>::from_le_bytes)
        }
    )*};
}

impl<'a> Reader<'a> {
    /// Reads from the start of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { left: bytes }
    }

    /// What is not yet read.
    pub fn rest(&self) -> &'a [u8] {
        self.left
    }

    /// Whether everything is read.
    pub fn is_empty(&self) -> bool {
        self.left.is_empty()
    }

    /// The next `len` bytes.
    #[inline]
    pub fn bytes(&mut self, len: usize) -> Result<&'a [u8], Truncated> {
        let (head, tail) = self.left.split_at_checked(len).ok_or(Truncated)?;
        self.left = tail;
        Ok(head)
    }

    /// The next `N` bytes.
    #[inline]
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Truncated> {
        let (head, tail) = self.left.split_first_chunk::<N>().ok_or(Truncated)?;
        self.left = tail;
        Ok(*head)
    }

    big_endian!(u8: u8, u16: u16, u32: u32, u64: u64, i8: i8, i16: i16, i32: i32, i64: i64, f32: f32, f64: f64);
    little_endian!(u16_le: u16, u32_le: u32, u64_le: u64);
}
