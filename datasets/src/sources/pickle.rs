//! Dicts of CIFAR's python version, out of pickles of protocol 2 to 5.
//!
//! A pickle is a program for a small machine that may call anything by name. This machine knows the steps that Python 2
//! and 3 write for a dict of bytes, numbers, lists of them and numpy arrays of bytes, and of calls the five that make
//! such arrays and strings. It executes nothing, and refuses everything else at the byte where it stands.

use std::collections::HashMap;
use std::rc::Rc;

/// Values that a file may hold, five times what CIFAR-100's training split does: bounds the memory beside the file.
const MOST_VALUES: usize = 1 << 20;
/// Keys of a dict.
const MOST_KEYS: usize = 16;
/// Tuples in tuples.
const MOST_DEPTH: usize = 4;
/// Longest name of what is called.
const LONGEST_NAME: usize = 64;
/// About a step on a stack that is too short.
const TOO_FEW: &str = "the step takes more values than there are";

type Outcome<T> = Result<T, String>;

/// A string of bytes: mostly a part of the file, else owned by whoever still needs it.
#[derive(Clone)]
enum Bytes<'a> {
    File(&'a [u8]),
    Made(Rc<[u8]>),
}

/// A numpy array of `rows` x `columns` bytes.
#[derive(Clone)]
pub(super) struct Array<'a> {
    pub rows: usize,
    pub columns: usize,
    bytes: Bytes<'a>,
}

/// What a pickle holds.
pub(super) struct Dict<'a>(Vec<(Bytes<'a>, Value<'a>)>);

/// What may be called by name.
#[derive(Clone, Copy, PartialEq)]
enum Name {
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
    Name(Name),
    /// The dtype of bytes.
    ByteType,
    /// An array that has no content yet.
    Blank,
    Array(Array<'a>),
}

/// The dict that `file` holds.
///
/// # Errors
/// What is wrong, and at which byte, for anything that is no pickle of such a dict.
pub(super) fn read(file: &[u8]) -> Outcome<Dict<'_>> {
    let mut machine = Machine { file, at: 0, stack: vec![], marks: vec![], memo: HashMap::new(), values: 0, made: 0 };
    let value = machine.run().map_err(|reason| format!("byte {}: {reason}", machine.at))?;
    match value {
        Value::Dict(items) => Ok(Dict(items)),
        other => Err(format!("expected a pickled dict, found {}", other.what())),
    }
}

impl Dict<'_> {
    fn get(&self, key: &str) -> Outcome<&Value<'_>> {
        let found = self.0.iter().find(|(other, _)| other.get() == key.as_bytes());
        found.map(|(_, value)| value).ok_or_else(|| format!("expected the key {key:?}, found none"))
    }

    /// The array of bytes at `key`.
    pub fn array(&self, key: &str) -> Outcome<&Array<'_>> {
        match self.get(key)? {
            Value::Array(array) => Ok(array),
            other => Err(format!("expected a numpy array at {key:?}, found {}", other.what())),
        }
    }

    /// The list of numbers at `key`.
    pub fn numbers(&self, key: &str) -> Outcome<Vec<i64>> {
        let number = |value: &Value| match value {
            Value::Int(number) => Ok(*number),
            other => Err(format!("expected numbers at {key:?}, found {}", other.what())),
        };
        self.list(key)?.iter().map(number).collect()
    }

    /// The list of strings at `key`.
    pub fn strings(&self, key: &str) -> Outcome<Vec<String>> {
        let string = |value: &Value| {
            let bytes = value.as_string().ok_or_else(|| format!("expected strings at {key:?}, found {}", value.what()));
            String::from_utf8(bytes?.get().to_vec()).map_err(|_| format!("expected UTF-8 strings at {key:?}"))
        };
        self.list(key)?.iter().map(string).collect()
    }

    fn list(&self, key: &str) -> Outcome<&[Value<'_>]> {
        match self.get(key)? {
            Value::List(items) => Ok(items),
            other => Err(format!("expected a list at {key:?}, found {}", other.what())),
        }
    }
}

impl Array<'_> {
    /// The elements, row after row; `rows * columns` of them.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get()
    }
}

impl Bytes<'_> {
    fn get(&self) -> &[u8] {
        match self {
            Bytes::File(bytes) => bytes,
            Bytes::Made(bytes) => bytes,
        }
    }
}

impl<'a> Value<'a> {
    /// What it is, for messages.
    fn what(&self) -> &'static str {
        match self {
            Value::None => "None",
            Value::Bool(_) => "a bool",
            Value::Int(_) => "a number",
            Value::Bytes(_) | Value::Text(_) => "a string",
            Value::Tuple { .. } => "a tuple",
            Value::List(_) => "a list",
            Value::Dict(_) => "a dict",
            Value::Name(_) => "a name",
            Value::ByteType => "a dtype",
            Value::Blank | Value::Array(_) => "a numpy array",
        }
    }

    /// Python 2's strings are bytes, Python 3's are text; keys and names come as either.
    fn as_string(&self) -> Option<Bytes<'a>> {
        match self {
            Value::Bytes(bytes) => Some(bytes.clone()),
            Value::Text(text) => Some(Bytes::File(text.as_bytes())),
            _ => None,
        }
    }

    /// Whether it is what `text` is.
    fn is(&self, text: &str) -> bool {
        self.as_string().is_some_and(|string| string.get() == text.as_bytes())
    }

    /// Whether it changes after it was made: such a value stands in one place alone.
    fn is_mutable(&self) -> bool {
        matches!(self, Value::List(_) | Value::Dict(_) | Value::Blank | Value::Array(_))
    }
}

/// The state of a pickle's machine.
struct Machine<'a> {
    file: &'a [u8],
    /// Byte to be read next.
    at: usize,
    stack: Vec<Value<'a>>,
    /// Lengths of the stack at the open marks.
    marks: Vec<usize>,
    /// What later steps may take again; nothing for what must not be taken twice.
    memo: HashMap<u32, Option<Value<'a>>>,
    /// Values made so far.
    values: usize,
    /// Bytes made so far that are no part of the file.
    made: usize,
}

impl<'a> Machine<'a> {
    /// Runs to the end of the file and gives the one value that is left.
    fn run(&mut self) -> Outcome<Value<'a>> {
        match (self.byte(), self.byte()) {
            (Ok(0x80), Ok(2..=5)) => {}
            _ => return Err("expected a pickle of protocol 2 to 5, found something else".into()),
        }
        loop {
            let start = self.at;
            match self.byte()? {
                b'.' => break,
                step => self.step(step).inspect_err(|_| self.at = start)?,
            }
        }
        match (self.stack.pop(), self.stack.is_empty(), self.at == self.file.len()) {
            (Some(value), true, true) => Ok(value),
            _ => Err("expected one value and the end of the file".into()),
        }
    }

    /// One step. The names are those of Python's pickletools.
    fn step(&mut self, step: u8) -> Outcome<()> {
        match step {
            0x95 => self.take(8).map(drop), // FRAME: a hint for readers that fetch piece by piece
            b'(' => self.mark(),
            b'N' => self.push(Value::None),
            0x88 | 0x89 => self.push(Value::Bool(step == 0x88)), // NEWTRUE, NEWFALSE
            b'J' => self.number(4).and_then(|n| self.int(n as i32 as i64)), // BININT
            b'K' => self.number(1).and_then(|n| self.int(n as i64)), // BININT1
            b'M' => self.number(2).and_then(|n| self.int(n as i64)), // BININT2
            0x8a => self.long(),                                 // LONG1
            b'U' | b'C' => self.bytes(1),                        // SHORT_BINSTRING, SHORT_BINBYTES
            b'T' | b'B' => self.bytes(4),                        // BINSTRING, BINBYTES
            0x8e | 0x96 => self.bytes(8),                        // BINBYTES8, BYTEARRAY8
            0x8c => self.text(1),                                // SHORT_BINUNICODE
            b'X' => self.text(4),                                // BINUNICODE
            0x8d => self.text(8),                                // BINUNICODE8
            b']' => self.push(Value::List(vec![])),              // EMPTY_LIST
            b'}' => self.push(Value::Dict(vec![])),              // EMPTY_DICT
            b')' => self.tuple(0),                               // EMPTY_TUPLE
            0x85..=0x87 => self.tuple(usize::from(step - 0x84)), // TUPLE1, TUPLE2, TUPLE3
            b't' => self.marked().and_then(|count| self.tuple(count)), // TUPLE
            b'a' => self.append(1),                              // APPEND
            b'e' => self.marked().and_then(|count| self.append(count)), // APPENDS
            b's' => self.set(2),                                 // SETITEM
            b'u' => self.marked().and_then(|count| self.set(count)), // SETITEMS
            b'q' => self.number(1).and_then(|slot| self.remember(slot)), // BINPUT
            b'r' => self.number(4).and_then(|slot| self.remember(slot)), // LONG_BINPUT
            0x94 => self.remember(self.memo.len() as u64),       // MEMOIZE
            b'h' => self.number(1).and_then(|slot| self.recall(slot)), // BINGET
            b'j' => self.number(4).and_then(|slot| self.recall(slot)), // LONG_BINGET
            b'c' => self.global(),                               // GLOBAL
            0x93 => self.stack_global(),                         // STACK_GLOBAL
            b'R' => self.reduce(),
            b'b' => self.build(),
            other => Err(format!("the step {other:#04x} does not stand in pickles of CIFAR")),
        }
    }

    fn byte(&mut self) -> Outcome<u8> {
        Ok(self.take(1)?[0])
    }

    /// The next `count` bytes of the file.
    fn take(&mut self, count: usize) -> Outcome<&'a [u8]> {
        let rest = &self.file[self.at..];
        let taken = rest.get(..count).ok_or_else(|| {
            format!("truncated: {count} bytes expected, {} left\nhint: copy or download it again", rest.len())
        })?;
        self.at += count;
        Ok(taken)
    }

    /// A number of `width` bytes, without sign, the least byte first.
    fn number(&mut self, width: usize) -> Outcome<u64> {
        Ok(self.take(width)?.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte)))
    }

    /// The next bytes of the file, as many as the number of `width` bytes before them says.
    fn counted(&mut self, width: usize) -> Outcome<&'a [u8]> {
        let count = self.number(width)?;
        self.take(usize::try_from(count).unwrap_or(usize::MAX))
    }

    /// Counts what takes memory.
    fn count(&mut self) -> Outcome<()> {
        self.values += 1;
        match self.values <= MOST_VALUES {
            true => Ok(()),
            false => Err(format!("more than {MOST_VALUES} values")),
        }
    }

    fn push(&mut self, value: Value<'a>) -> Outcome<()> {
        self.count()?;
        self.stack.push(value);
        Ok(())
    }

    /// The topmost value above the last mark.
    fn pop(&mut self) -> Outcome<Value<'a>> {
        let floor = self.marks.last().copied().unwrap_or(0);
        let value = if self.stack.len() > floor { self.stack.pop() } else { None };
        value.ok_or_else(|| TOO_FEW.into())
    }

    /// The topmost `count` values above the last mark.
    fn pop_many(&mut self, count: usize) -> Outcome<Vec<Value<'a>>> {
        let floor = self.marks.last().copied().unwrap_or(0);
        match self.stack.len().checked_sub(count) {
            Some(start) if start >= floor => Ok(self.stack.split_off(start)),
            _ => Err(TOO_FEW.into()),
        }
    }

    fn mark(&mut self) -> Outcome<()> {
        self.count()?;
        self.marks.push(self.stack.len());
        Ok(())
    }

    /// Closes the last mark; how many values stand above it.
    fn marked(&mut self) -> Outcome<usize> {
        let mark = self.marks.pop().ok_or("the step needs a mark, and there is none")?;
        Ok(self.stack.len() - mark)
    }

    fn int(&mut self, number: i64) -> Outcome<()> {
        self.push(Value::Int(number))
    }

    /// A number of up to eight bytes with sign.
    fn long(&mut self) -> Outcome<()> {
        let bytes = self.counted(1)?;
        let start: i64 = if bytes.last().is_some_and(|&byte| byte >= 0x80) { -1 } else { 0 };
        match bytes.len() {
            0..=8 => self.int(bytes.iter().rev().fold(start, |number, &byte| number << 8 | i64::from(byte))),
            count => Err(format!("a number of {count} bytes")),
        }
    }

    fn bytes(&mut self, width: usize) -> Outcome<()> {
        let bytes = self.counted(width)?;
        self.push(Value::Bytes(Bytes::File(bytes)))
    }

    fn text(&mut self, width: usize) -> Outcome<()> {
        let text = std::str::from_utf8(self.counted(width)?).map_err(|_| "a text that is not UTF-8")?;
        self.push(Value::Text(text))
    }

    /// The bound on depth keeps what walks over nested tuples, such as freeing them, from using up the thread's stack.
    fn tuple(&mut self, count: usize) -> Outcome<()> {
        let items = self.pop_many(count)?;
        let mut depth = 1;
        for item in &items {
            match item {
                Value::Tuple { depth: below, .. } => depth = depth.max(below + 1),
                item if item.is_mutable() => return Err(format!("{} in a tuple", item.what())),
                _ => {}
            }
        }
        match depth <= MOST_DEPTH {
            true => self.push(Value::Tuple { items: items.into(), depth }),
            false => Err(format!("tuples more than {MOST_DEPTH} deep")),
        }
    }

    fn append(&mut self, count: usize) -> Outcome<()> {
        let items = self.pop_many(count)?;
        if let Some(other) = items.iter().find(|item| !matches!(item, Value::Int(_)) && item.as_string().is_none()) {
            return Err(format!("expected numbers and strings in a list, found {}", other.what()));
        }
        match self.stack.last_mut() {
            Some(Value::List(list)) => {
                list.extend(items);
                Ok(())
            }
            _ => Err("expected a list to append to".into()),
        }
    }

    /// Takes `count` keys and values in turn.
    fn set(&mut self, count: usize) -> Outcome<()> {
        let items = self.pop_many(count)?;
        let Some(Value::Dict(dict)) = self.stack.last_mut() else { return Err("expected a dict to add to".into()) };
        let mut items = items.into_iter();
        while let Some(key) = items.next() {
            let key = key.as_string().ok_or_else(|| format!("{} as a key", key.what()))?;
            match items.next() {
                Some(Value::Dict(_) | Value::Blank) | None => return Err("expected a value for each key".into()),
                Some(_) if dict.iter().any(|(other, _)| other.get() == key.get()) => return Err("a key twice".into()),
                Some(_) if dict.len() == MOST_KEYS => return Err(format!("more than {MOST_KEYS} keys")),
                Some(value) => dict.push((key, value)),
            }
        }
        Ok(())
    }

    fn remember(&mut self, slot: u64) -> Outcome<()> {
        self.count()?;
        let value = self.stack.last().ok_or(TOO_FEW)?;
        let kept = (!value.is_mutable()).then(|| value.clone());
        self.memo.insert(slot as u32, kept);
        Ok(())
    }

    fn recall(&mut self, slot: u64) -> Outcome<()> {
        match self.memo.get(&(slot as u32)) {
            Some(Some(value)) => self.push(value.clone()),
            Some(None) => Err("a list, dict or array that stands in two places".into()),
            None => Err("nothing was kept under this number".into()),
        }
    }

    /// A name in two lines of the file.
    fn global(&mut self) -> Outcome<()> {
        let (module, name) = (self.line()?, self.line()?);
        self.push(Value::Name(Name::of(module, name)?))
    }

    fn line(&mut self) -> Outcome<&'a [u8]> {
        let rest = &self.file[self.at..];
        let end = rest.iter().take(LONGEST_NAME).position(|&byte| byte == b'\n').ok_or("a name that does not end")?;
        self.at += end + 1;
        Ok(&rest[..end])
    }

    fn stack_global(&mut self) -> Outcome<()> {
        let (name, module) = (self.pop()?, self.pop()?);
        match (&module, &name) {
            (Value::Text(module), Value::Text(name)) => {
                let name = Name::of(module.as_bytes(), name.as_bytes())?;
                self.push(Value::Name(name))
            }
            _ => Err("expected the texts of a name".into()),
        }
    }

    /// A call.
    fn reduce(&mut self) -> Outcome<()> {
        let (arguments, called) = (self.pop()?, self.pop()?);
        let Value::Tuple { items, .. } = arguments else { return Err("expected a tuple of arguments".into()) };
        let Value::Name(name) = called else { return Err(format!("{} is called", called.what())) };
        let value = match (name, &*items) {
            (Name::Encode, [Value::Text(text), encoding]) if encoding.is("latin1") => self.encode(text)?,
            (Name::Reconstruct, [Value::Name(Name::Ndarray), _, _]) => Value::Blank,
            (Name::Dtype, [code, ..]) if code.is("u1") || code.is("|u1") => Value::ByteType,
            (Name::Dtype, _) => return Err("a numpy array whose dtype is not uint8".into()),
            (Name::FromBuffer, [Value::Bytes(bytes), Value::ByteType, shape, order, ..]) if order.is("C") => {
                Value::Array(array(shape, bytes)?)
            }
            _ => return Err("a call with other arguments than CIFAR's pickles have".into()),
        };
        self.push(value)
    }

    /// Python 3 writes bytes at protocol 2 as text of the same code points, to be encoded as Latin-1.
    fn encode(&mut self, text: &str) -> Outcome<Value<'a>> {
        self.made += text.len();
        if self.made > self.file.len() {
            return Err("its strings are longer than the file".into());
        }
        let bytes: Option<Rc<[u8]>> = text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect();
        bytes.map(|bytes| Value::Bytes(Bytes::Made(bytes))).ok_or_else(|| "a string that is not Latin-1".into())
    }

    /// Gives an object its state.
    fn build(&mut self) -> Outcome<()> {
        let (state, object) = (self.pop()?, self.pop()?);
        let Value::Tuple { items, .. } = state else { return Err("expected a tuple as state".into()) };
        let value = match (object, &*items) {
            // version, byte order, ...: nothing that a byte has
            (Value::ByteType, [..]) => Value::ByteType,
            (Value::Blank, [_version, shape, Value::ByteType, by_column, Value::Bytes(bytes)]) => match by_column {
                Value::Bool(false) | Value::Int(0) => Value::Array(array(shape, bytes)?),
                _ => return Err("an array that is stored column after column".into()),
            },
            (other, _) => return Err(format!("{} with another state than CIFAR's pickles have", other.what())),
        };
        self.push(value)
    }
}

impl Name {
    /// What `module.name` is, where it may be called. Numpy 2 moved its core.
    fn of(module: &[u8], name: &[u8]) -> Outcome<Name> {
        match (module, name) {
            (b"numpy.core.multiarray" | b"numpy._core.multiarray", b"_reconstruct") => Ok(Name::Reconstruct),
            (b"numpy.core.numeric" | b"numpy._core.numeric", b"_frombuffer") => Ok(Name::FromBuffer),
            (b"numpy", b"ndarray") => Ok(Name::Ndarray),
            (b"numpy", b"dtype") => Ok(Name::Dtype),
            (b"_codecs", b"encode") => Ok(Name::Encode),
            _ => {
                let text = |bytes: &[u8]| String::from_utf8_lossy(&bytes[..bytes.len().min(LONGEST_NAME)]).into_owned();
                let called = format!("{}.{}", text(module), text(name));
                Err(format!("it calls {called:?}, which pickles of CIFAR do not; nothing was executed"))
            }
        }
    }
}

/// An array of this shape, if `bytes` are as many.
fn array<'a>(shape: &Value, bytes: &Bytes<'a>) -> Outcome<Array<'a>> {
    let sizes = match shape {
        Value::Tuple { items, .. } => match **items {
            [Value::Int(rows), Value::Int(columns)] => usize::try_from(rows).ok().zip(usize::try_from(columns).ok()),
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
