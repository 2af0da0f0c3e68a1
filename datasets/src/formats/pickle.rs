//! Reader for the dicts of CIFAR's Python version, in pickle protocols 2 to 5.
//!
//! A pickle is a program for a stack machine that can call any Python function. This machine supports only
//! the instructions that Python 2 and 3 write for a dict of bytes, numbers, lists and numpy arrays of bytes,
//! and the five calls that create such arrays and strings. It executes no code. It refuses anything else and
//! reports the byte position.

use std::collections::HashMap;
use std::rc::Rc;

use crate::file_kind::FileKind;

/// Maximum number of values in a file: five times the number in CIFAR-100's training split. This limits
/// memory use.
const MOST_VALUES: usize = 1 << 20;
/// Maximum number of keys in a dict.
const MOST_KEYS: usize = 16;
/// Maximum nesting depth of tuples.
const MOST_DEPTH: usize = 4;
/// Maximum length of a function's name in bytes.
const LONGEST_NAME: usize = 64;
/// The error for an instruction that needs more values than the stack holds.
const STACK_TOO_SHORT: &str = "the instruction needs more values than the stack holds";

type Result<T> = std::result::Result<T, String>;

/// A byte string, usually borrowed from the file.
#[derive(Clone)]
enum Bytes<'a> {
    Borrowed(&'a [u8]),
    Owned(Rc<[u8]>),
}

/// A numpy array of `rows` x `columns` bytes.
#[derive(Clone)]
pub(crate) struct Array<'a> {
    pub rows: usize,
    pub columns: usize,
    bytes: Bytes<'a>,
}

/// The content of a pickle.
pub(crate) struct Dict<'a>(Vec<(Bytes<'a>, Value<'a>)>);

/// The Python functions and classes that a pickle may name.
#[derive(Clone, Copy, PartialEq)]
enum Global {
    Reconstruct,
    FromBuffer,
    Ndarray,
    Dtype,
    Encode,
}

#[derive(Clone)]
enum Value<'a> {
    None,
    Bool(bool),
    Int(i64),
    Bytes(Bytes<'a>),
    Text(&'a str),
    Tuple {
        items: Rc<[Value<'a>]>,
        depth: usize,
    },
    List(Vec<Value<'a>>),
    Dict(Vec<(Bytes<'a>, Value<'a>)>),
    Global(Global),
    /// The dtype of a single byte.
    ByteType,
    /// A numpy array before its state is set.
    EmptyArray,
    Array(Array<'a>),
}

/// Reads the pickled dict in `file`.
///
/// # Errors
/// What is wrong, with the byte position.
pub(crate) fn read(file: &[u8]) -> Result<Dict<'_>> {
    let mut machine =
        Machine { file, at: 0, stack: vec![], marks: vec![], memo: HashMap::new(), values: 0, copied: 0 };
    let value = machine.run().map_err(|reason| format!("byte {}: {reason}", machine.at))?;
    match value {
        Value::Dict(items) => Ok(Dict(items)),
        other => Err(format!("expected a pickled dict, found {}", other.type_name())),
    }
}

impl Dict<'_> {
    fn get(&self, key: &str) -> Result<&Value<'_>> {
        let found = self.0.iter().find(|(other, _)| other.get() == key.as_bytes());
        found.map(|(_, value)| value).ok_or_else(|| format!("expected the key {key:?}, found none"))
    }

    /// The array of bytes at `key`.
    pub fn array(&self, key: &str) -> Result<&Array<'_>> {
        match self.get(key)? {
            Value::Array(array) => Ok(array),
            other => Err(format!("expected a numpy array at {key:?}, found {}", other.type_name())),
        }
    }

    /// The list of numbers at `key`.
    pub fn numbers(&self, key: &str) -> Result<Vec<i64>> {
        let number = |value: &Value| match value {
            Value::Int(number) => Ok(*number),
            other => Err(format!("expected numbers at {key:?}, found {}", other.type_name())),
        };
        self.list(key)?.iter().map(number).collect()
    }

    /// The list of strings at `key`.
    pub fn strings(&self, key: &str) -> Result<Vec<String>> {
        let string = |value: &Value| {
            let bytes = value
                .as_string()
                .ok_or_else(|| format!("expected strings at {key:?}, found {}", value.type_name()));
            String::from_utf8(bytes?.get().to_vec()).map_err(|_| format!("expected UTF-8 strings at {key:?}"))
        };
        self.list(key)?.iter().map(string).collect()
    }

    fn list(&self, key: &str) -> Result<&[Value<'_>]> {
        match self.get(key)? {
            Value::List(items) => Ok(items),
            other => Err(format!("expected a list at {key:?}, found {}", other.type_name())),
        }
    }
}

impl Array<'_> {
    /// The `rows * columns` elements, row by row.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get()
    }
}

impl Bytes<'_> {
    fn get(&self) -> &[u8] {
        match self {
            Bytes::Borrowed(bytes) => bytes,
            Bytes::Owned(bytes) => bytes,
        }
    }
}

impl<'a> Value<'a> {
    /// Name of the Python type, for error messages.
    fn type_name(&self) -> &'static str {
        match self {
            Value::None => "None",
            Value::Bool(_) => "a bool",
            Value::Int(_) => "a number",
            Value::Bytes(_) | Value::Text(_) => "a string",
            Value::Tuple { .. } => "a tuple",
            Value::List(_) => "a list",
            Value::Dict(_) => "a dict",
            Value::Global(_) => "a function",
            Value::ByteType => "a dtype",
            Value::EmptyArray | Value::Array(_) => "a numpy array",
        }
    }

    /// The bytes of a string. Python 2 writes keys and names as bytes, Python 3 as text.
    fn as_string(&self) -> Option<Bytes<'a>> {
        match self {
            Value::Bytes(bytes) => Some(bytes.clone()),
            Value::Text(text) => Some(Bytes::Borrowed(text.as_bytes())),
            _ => None,
        }
    }

    /// Whether this is the string `text`.
    fn is(&self, text: &str) -> bool {
        self.as_string().is_some_and(|string| string.get() == text.as_bytes())
    }

    /// Whether the value can still change. A mutable value may be used in only one place.
    fn is_mutable(&self) -> bool {
        matches!(self, Value::List(_) | Value::Dict(_) | Value::EmptyArray | Value::Array(_))
    }
}

/// The stack machine.
struct Machine<'a> {
    file: &'a [u8],
    /// Position of the next byte.
    at: usize,
    stack: Vec<Value<'a>>,
    /// Stack length at each open mark.
    marks: Vec<usize>,
    /// Values that later instructions may reuse. `None` stands for a mutable value, which must not be reused.
    memo: HashMap<u32, Option<Value<'a>>>,
    /// Number of values so far.
    values: usize,
    /// Bytes of owned strings so far.
    copied: usize,
}

impl<'a> Machine<'a> {
    /// Runs to the end of the file and returns the only value left on the stack.
    fn run(&mut self) -> Result<Value<'a>> {
        match (self.byte(), self.byte()) {
            (Ok(0x80), Ok(2..=5)) => {}
            _ => {
                let kind = FileKind::of(self.file);
                return Err(kind.instead_of("a pickle of protocol 2 to 5", "hint: download the set again"));
            }
        }
        loop {
            let start = self.at;
            match self.byte()? {
                b'.' => break,
                opcode => self.execute(opcode).inspect_err(|_| self.at = start)?,
            }
        }
        match (self.stack.pop(), self.stack.is_empty(), self.at == self.file.len()) {
            (Some(value), true, true) => Ok(value),
            _ => Err("expected one value and the end of the file".into()),
        }
    }

    /// Executes one instruction. The comments give the opcode names of Python's pickletools.
    fn execute(&mut self, opcode: u8) -> Result<()> {
        match opcode {
            0x95 => self.take(8).map(drop), // FRAME: a hint for buffered readers
            b'(' => self.mark(),
            b'N' => self.push(Value::None),
            0x88 | 0x89 => self.push(Value::Bool(opcode == 0x88)), // NEWTRUE, NEWFALSE
            b'J' => self.number(4).and_then(|n| self.int(n as i32 as i64)), // BININT
            b'K' => self.number(1).and_then(|n| self.int(n as i64)), // BININT1
            b'M' => self.number(2).and_then(|n| self.int(n as i64)), // BININT2
            0x8a => self.long(),                                   // LONG1
            b'U' | b'C' => self.bytes(1),                          // SHORT_BINSTRING, SHORT_BINBYTES
            b'T' | b'B' => self.bytes(4),                          // BINSTRING, BINBYTES
            0x8e | 0x96 => self.bytes(8),                          // BINBYTES8, BYTEARRAY8
            0x8c => self.text(1),                                  // SHORT_BINUNICODE
            b'X' => self.text(4),                                  // BINUNICODE
            0x8d => self.text(8),                                  // BINUNICODE8
            b']' => self.push(Value::List(vec![])),                // EMPTY_LIST
            b'}' => self.push(Value::Dict(vec![])),                // EMPTY_DICT
            b')' => self.tuple(0),                                 // EMPTY_TUPLE
            0x85..=0x87 => self.tuple(usize::from(opcode - 0x84)), // TUPLE1, TUPLE2, TUPLE3
            b't' => self.marked().and_then(|count| self.tuple(count)), // TUPLE
            b'a' => self.append(1),                                // APPEND
            b'e' => self.marked().and_then(|count| self.append(count)), // APPENDS
            b's' => self.set(2),                                   // SETITEM
            b'u' => self.marked().and_then(|count| self.set(count)), // SETITEMS
            b'q' => self.number(1).and_then(|slot| self.store(slot)), // BINPUT
            b'r' => self.number(4).and_then(|slot| self.store(slot)), // LONG_BINPUT
            0x94 => self.store(self.memo.len() as u64),            // MEMOIZE
            b'h' => self.number(1).and_then(|slot| self.load(slot)), // BINGET
            b'j' => self.number(4).and_then(|slot| self.load(slot)), // LONG_BINGET
            b'c' => self.global(),                                 // GLOBAL
            0x93 => self.stack_global(),                           // STACK_GLOBAL
            b'R' => self.reduce(),
            b'b' => self.build(),
            other => Err(format!("the instruction {other:#04x} does not occur in CIFAR pickles")),
        }
    }

    fn byte(&mut self) -> Result<u8> {
        Ok(self.take(1)?[0])
    }

    /// Takes the next `count` bytes of the file.
    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let rest = &self.file[self.at..];
        let taken = rest.get(..count).ok_or_else(|| {
            format!("truncated: {count} bytes expected, {} left\nhint: copy or download it again", rest.len())
        })?;
        self.at += count;
        Ok(taken)
    }

    /// Reads an unsigned little-endian number of `width` bytes.
    fn number(&mut self, width: usize) -> Result<u64> {
        Ok(self.take(width)?.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte)))
    }

    /// Reads a length of `width` bytes, and then that many bytes.
    fn counted(&mut self, width: usize) -> Result<&'a [u8]> {
        let count = self.number(width)?;
        self.take(usize::try_from(count).unwrap_or(usize::MAX))
    }

    /// Counts a value towards the limit.
    fn count(&mut self) -> Result<()> {
        self.values += 1;
        match self.values <= MOST_VALUES {
            true => Ok(()),
            false => Err(format!("more than {MOST_VALUES} values")),
        }
    }

    fn push(&mut self, value: Value<'a>) -> Result<()> {
        self.count()?;
        self.stack.push(value);
        Ok(())
    }

    /// Pops the topmost value above the last mark.
    fn pop(&mut self) -> Result<Value<'a>> {
        let floor = self.marks.last().copied().unwrap_or(0);
        let value = if self.stack.len() > floor { self.stack.pop() } else { None };
        value.ok_or_else(|| STACK_TOO_SHORT.into())
    }

    /// Pops the topmost `count` values above the last mark.
    fn pop_many(&mut self, count: usize) -> Result<Vec<Value<'a>>> {
        let floor = self.marks.last().copied().unwrap_or(0);
        match self.stack.len().checked_sub(count) {
            Some(start) if start >= floor => Ok(self.stack.split_off(start)),
            _ => Err(STACK_TOO_SHORT.into()),
        }
    }

    fn mark(&mut self) -> Result<()> {
        self.count()?;
        self.marks.push(self.stack.len());
        Ok(())
    }

    /// Closes the last mark and returns the number of values above it.
    fn marked(&mut self) -> Result<usize> {
        let mark = self.marks.pop().ok_or("the instruction needs a mark, but there is none")?;
        Ok(self.stack.len() - mark)
    }

    fn int(&mut self, number: i64) -> Result<()> {
        self.push(Value::Int(number))
    }

    /// Reads a signed number of up to eight bytes.
    fn long(&mut self) -> Result<()> {
        let bytes = self.counted(1)?;
        let start: i64 = if bytes.last().is_some_and(|&byte| byte >= 0x80) { -1 } else { 0 };
        match bytes.len() {
            0..=8 => self.int(bytes.iter().rev().fold(start, |number, &byte| number << 8 | i64::from(byte))),
            count => Err(format!("a number of {count} bytes")),
        }
    }

    fn bytes(&mut self, width: usize) -> Result<()> {
        let bytes = self.counted(width)?;
        self.push(Value::Bytes(Bytes::Borrowed(bytes)))
    }

    fn text(&mut self, width: usize) -> Result<()> {
        let text = std::str::from_utf8(self.counted(width)?).map_err(|_| "a text that is not UTF-8")?;
        self.push(Value::Text(text))
    }

    /// Makes a tuple of the topmost `count` values. Nesting is limited, because recursion over tuples, for
    /// example to free them, could overflow the thread's stack.
    fn tuple(&mut self, count: usize) -> Result<()> {
        let items = self.pop_many(count)?;
        let mut depth = 1;
        for item in &items {
            match item {
                Value::Tuple { depth: below, .. } => depth = depth.max(below + 1),
                item if item.is_mutable() => return Err(format!("{} in a tuple", item.type_name())),
                _ => {}
            }
        }
        match depth <= MOST_DEPTH {
            true => self.push(Value::Tuple { items: items.into(), depth }),
            false => Err(format!("tuples nested more than {MOST_DEPTH} deep")),
        }
    }

    fn append(&mut self, count: usize) -> Result<()> {
        let items = self.pop_many(count)?;
        if let Some(other) =
            items.iter().find(|item| !matches!(item, Value::Int(_)) && item.as_string().is_none())
        {
            return Err(format!("expected numbers and strings in a list, found {}", other.type_name()));
        }
        match self.stack.last_mut() {
            Some(Value::List(list)) => {
                list.extend(items);
                Ok(())
            }
            _ => Err("expected a list to append to".into()),
        }
    }

    /// Adds `count` keys and values to a dict.
    fn set(&mut self, count: usize) -> Result<()> {
        let items = self.pop_many(count)?;
        let Some(Value::Dict(dict)) = self.stack.last_mut() else {
            return Err("expected a dict to add to".into());
        };
        let mut items = items.into_iter();
        while let Some(key) = items.next() {
            let key = key.as_string().ok_or_else(|| format!("{} as a key", key.type_name()))?;
            match items.next() {
                Some(Value::Dict(_) | Value::EmptyArray) | None => {
                    return Err("expected a value for each key".into());
                }
                Some(_) if dict.iter().any(|(other, _)| other.get() == key.get()) => {
                    return Err("a duplicate key".into());
                }
                Some(_) if dict.len() == MOST_KEYS => return Err(format!("more than {MOST_KEYS} keys")),
                Some(value) => dict.push((key, value)),
            }
        }
        Ok(())
    }

    fn store(&mut self, slot: u64) -> Result<()> {
        self.count()?;
        let value = self.stack.last().ok_or(STACK_TOO_SHORT)?;
        let kept = (!value.is_mutable()).then(|| value.clone());
        self.memo.insert(slot as u32, kept);
        Ok(())
    }

    fn load(&mut self, slot: u64) -> Result<()> {
        match self.memo.get(&(slot as u32)) {
            Some(Some(value)) => self.push(value.clone()),
            Some(None) => Err("a list, dict or array that is used in two places".into()),
            None => Err("the memo has no value under this number".into()),
        }
    }

    /// Reads the module and the name of a function, one per line.
    fn global(&mut self) -> Result<()> {
        let (module, name) = (self.line()?, self.line()?);
        self.push(Value::Global(Global::from_name(module, name)?))
    }

    fn line(&mut self) -> Result<&'a [u8]> {
        let rest = &self.file[self.at..];
        let end = rest
            .iter()
            .take(LONGEST_NAME)
            .position(|&byte| byte == b'\n')
            .ok_or("a name that is not terminated")?;
        self.at += end + 1;
        Ok(&rest[..end])
    }

    fn stack_global(&mut self) -> Result<()> {
        let (name, module) = (self.pop()?, self.pop()?);
        match (&module, &name) {
            (Value::Text(module), Value::Text(name)) => {
                let name = Global::from_name(module.as_bytes(), name.as_bytes())?;
                self.push(Value::Global(name))
            }
            _ => Err("expected a module and a name as text".into()),
        }
    }

    /// Calls a function.
    fn reduce(&mut self) -> Result<()> {
        let (arguments, called) = (self.pop()?, self.pop()?);
        let Value::Tuple { items, .. } = arguments else {
            return Err("expected a tuple of arguments".into());
        };
        let Value::Global(global) = called else {
            return Err(format!("expected a function to call, found {}", called.type_name()));
        };
        let value = match (global, &*items) {
            (Global::Encode, [Value::Text(text), encoding]) if encoding.is("latin1") => self.encode(text)?,
            (Global::Reconstruct, [Value::Global(Global::Ndarray), _, _]) => Value::EmptyArray,
            (Global::Dtype, [code, ..]) if code.is("u1") || code.is("|u1") => Value::ByteType,
            (Global::Dtype, _) => return Err("a numpy array whose dtype is not uint8".into()),
            (Global::FromBuffer, [Value::Bytes(bytes), Value::ByteType, shape, order, ..])
                if order.is("C") =>
            {
                Value::Array(array(shape, bytes)?)
            }
            _ => return Err("a call whose arguments differ from those in CIFAR pickles".into()),
        };
        self.push(value)
    }

    /// Encodes a text as Latin-1. Python 3 writes bytes this way in protocol 2.
    fn encode(&mut self, text: &str) -> Result<Value<'a>> {
        self.copied += text.len();
        if self.copied > self.file.len() {
            return Err("its strings are longer than the file".into());
        }
        let bytes: Option<Rc<[u8]>> = text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect();
        bytes
            .map(|bytes| Value::Bytes(Bytes::Owned(bytes)))
            .ok_or_else(|| "a string that is not Latin-1".into())
    }

    /// Sets the state of an object (BUILD).
    fn build(&mut self) -> Result<()> {
        let (state, object) = (self.pop()?, self.pop()?);
        let Value::Tuple { items, .. } = state else { return Err("expected a tuple as state".into()) };
        let value = match (object, &*items) {
            // the state holds the version, the byte order and more, none of which matters for bytes
            (Value::ByteType, [..]) => Value::ByteType,
            (Value::EmptyArray, [_version, shape, Value::ByteType, by_column, Value::Bytes(bytes)]) => {
                match by_column {
                    Value::Bool(false) | Value::Int(0) => Value::Array(array(shape, bytes)?),
                    _ => return Err("an array in column order".into()),
                }
            }
            (other, _) => {
                return Err(format!(
                    "{} with a state that differs from that in CIFAR pickles",
                    other.type_name()
                ));
            }
        };
        self.push(value)
    }
}

impl Global {
    /// Looks up `module.name`. NumPy 2 renamed its core module.
    fn from_name(module: &[u8], name: &[u8]) -> Result<Global> {
        match (module, name) {
            (b"numpy.core.multiarray" | b"numpy._core.multiarray", b"_reconstruct") => {
                Ok(Global::Reconstruct)
            }
            (b"numpy.core.numeric" | b"numpy._core.numeric", b"_frombuffer") => Ok(Global::FromBuffer),
            (b"numpy", b"ndarray") => Ok(Global::Ndarray),
            (b"numpy", b"dtype") => Ok(Global::Dtype),
            (b"_codecs", b"encode") => Ok(Global::Encode),
            _ => {
                let text = |bytes: &[u8]| {
                    String::from_utf8_lossy(&bytes[..bytes.len().min(LONGEST_NAME)]).into_owned()
                };
                let called = format!("{}.{}", text(module), text(name));
                Err(format!("it calls {called:?}, which CIFAR pickles never do; nothing was executed"))
            }
        }
    }
}

/// Makes an array of `bytes`. The number of bytes must match the shape.
fn array<'a>(shape: &Value, bytes: &Bytes<'a>) -> Result<Array<'a>> {
    let sizes = match shape {
        Value::Tuple { items, .. } => match **items {
            [Value::Int(rows), Value::Int(columns)] => {
                usize::try_from(rows).ok().zip(usize::try_from(columns).ok())
            }
            _ => None,
        },
        _ => None,
    };
    let (rows, columns) = sizes.ok_or("an array whose shape is not (rows, columns)")?;
    let found = bytes.get().len();
    match rows.checked_mul(columns) == Some(found) {
        true => Ok(Array { rows, columns, bytes: bytes.clone() }),
        false => Err(format!("an array of shape ({rows}, {columns}) with {found} bytes")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::testing::damage;

    const BATCH: &[u8] = include_bytes!("../../tests/reference/cifar10-batch.python3-protocol4");

    fn refused(file: &[u8]) -> String {
        read(file).err().unwrap()
    }

    #[test]
    fn numbers_and_strings_of_a_dict_are_read() {
        // {b"n": [1, -1], b"s": [b"ab"]} at protocol 2
        let file = b"\x80\x02}(U\x01n](K\x01J\xff\xff\xff\xffeU\x01s]U\x02abau.";
        let dict = read(file).unwrap();
        assert_eq!(dict.numbers("n").unwrap(), [1, -1]);
        assert_eq!(dict.strings("s").unwrap(), ["ab"]);
        assert!(dict.numbers("s").unwrap_err().contains("expected numbers at \"s\", found a string"));
        assert!(dict.array("n").err().unwrap().contains("expected a numpy array"));
        assert!(dict.strings("x").unwrap_err().contains("expected the key \"x\""));
    }

    #[test]
    fn other_functions_are_not_called() {
        let error = refused(b"\x80\x02cos\nsystem\n(U\x02lstR.");
        assert!(error.contains("os.system") && error.contains("nothing was executed"), "{error}");
        assert!(refused(b"").contains("protocol 2 to 5"));
        assert!(refused(b"\x80\x02K\x01.").contains("expected a pickled dict, found a number"));
    }

    #[test]
    fn damaged_files_are_refused_or_read_but_never_panic() {
        let end = BATCH.len().min(400);
        damage(&BATCH[..end], |bytes| drop(read(bytes).map(|_| ())));
        for end in 0..end {
            assert!(read(&BATCH[..end]).is_err(), "a truncated file is refused");
        }
    }
}
