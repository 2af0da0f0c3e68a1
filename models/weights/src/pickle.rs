//! Reader for the pickles of `torch.save`, protocols 2 to 5.
//!
//! A pickle is a program for a stack machine that can call any Python function. This machine builds a tree of
//! inert values and calls nothing: the few calls that tensors need are understood by name
//! ([`Global`]), and everything else is refused.

use std::collections::HashMap;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::python_global::Global;
use crate::tensor::{Storage, View};

/// Most values of a pickle. A checkpoint of a thousand tensors with its optimiser has some ten thousand.
const MOST_VALUES: usize = 1 << 21;
/// Longest text that is kept, in bytes. Names of parameters are shorter.
const LONGEST_TEXT: usize = 1 << 12;
const STACK_TOO_SHORT: &str = "the instruction needs more values than the stack holds";

/// Place of a value in its [`Document`].
pub(crate) type Id = usize;

/// A value of a pickle.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Int(i64),
    Text(Arc<str>),
    /// Lists, tuples and sets.
    List(Vec<Id>),
    Dictionary(Vec<(Id, Id)>),
    Global(Global),
    Storage(Storage),
    Tensor(View),
    /// Anything that is not looked into.
    Inert,
}

/// The values of a pickle. They may be shared, and may contain themselves.
#[derive(Debug)]
pub struct Document {
    values: Vec<Value>,
    root: Id,
    /// Number of bytes up to the end of the pickle.
    pub(crate) length: usize,
}

impl Document {
    pub(crate) fn root(&self) -> Id {
        self.root
    }

    pub(crate) fn value(&self, id: Id) -> &Value {
        &self.values[id]
    }

    /// All storages that the pickle mentions, also those of tensors that nobody asks for.
    pub(crate) fn storages(&self) -> impl Iterator<Item = &Storage> {
        self.values.iter().filter_map(|value| match value {
            Value::Storage(storage) => Some(storage),
            _ => None,
        })
    }
}

/// Reads the pickle at the beginning of `bytes`, and runs nothing.
///
/// # Errors
/// A name that parameters do not need ([`Error::Refused`]); what is damaged, with the byte.
pub fn parse(bytes: &[u8]) -> Result<Document> {
    let (values, stack, marks, memo) = (vec![], vec![], vec![], HashMap::new());
    let mut machine = Machine { bytes, at: 0, values, stack, marks, memo, copied: 0 };
    let mut start = 0;
    let root = machine.run(&mut start).map_err(|error| match error {
        Stop::Damaged(reason) => Error::Pickle { at: start, reason },
        Stop::Whole(error) => error,
    })?;
    Ok(Document { root, length: machine.at, values: machine.values })
}

/// Why the machine stops.
enum Stop {
    /// The instruction is wrong.
    Damaged(String),
    Whole(Error),
}

impl From<&str> for Stop {
    fn from(reason: &str) -> Stop {
        Stop::Damaged(reason.to_owned())
    }
}

impl From<String> for Stop {
    fn from(reason: String) -> Stop {
        Stop::Damaged(reason)
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop::Whole(error)
    }
}

type Step<T> = std::result::Result<T, Stop>;

/// The stack machine. Its stack holds places of values.
struct Machine<'a> {
    bytes: &'a [u8],
    /// Position of the next byte.
    at: usize,
    values: Vec<Value>,
    stack: Vec<Id>,
    /// Stack length at each open mark.
    marks: Vec<usize>,
    memo: HashMap<u64, Id>,
    /// Entries of dictionaries that were copied from lists. A pickle may pass one list many times.
    copied: usize,
}

impl<'a> Machine<'a> {
    /// Runs to the end of the pickle. `start` is the position of the instruction that runs.
    fn run(&mut self, start: &mut usize) -> Step<Id> {
        if self.take(1)? != [0x80] || !matches!(self.take(1)?[0], 2..=5) {
            return Err("expected a pickle of protocol 2 to 5".into());
        }
        loop {
            *start = self.at;
            match self.take(1)?[0] {
                b'.' => break,
                opcode => self.execute(opcode)?,
            }
        }
        match self.stack[..] {
            [root] if self.marks.is_empty() => Ok(root),
            _ => Err("expected one value at the end".into()),
        }
    }

    /// Executes one instruction. The comments give the names in Python's pickletools.
    fn execute(&mut self, opcode: u8) -> Step<()> {
        match opcode {
            0x95 => self.take(8).map(drop), // FRAME: a hint for buffered readers
            b'(' => self.mark(),
            b'0' => self.pop().map(drop),
            b'1' => self.marked().map(drop),               // POP_MARK
            b'N' | 0x88 | 0x89 => self.push(Value::Inert), // NONE, NEWTRUE, NEWFALSE
            b'J' => self.number(4).and_then(|n| self.push(Value::Int(n as i32 as i64))), // BININT
            b'K' => self.number(1).and_then(|n| self.push(Value::Int(n as i64))), // BININT1
            b'M' => self.number(2).and_then(|n| self.push(Value::Int(n as i64))), // BININT2
            0x8a => self.long(1),                          // LONG1
            0x8b => self.long(4),                          // LONG4
            b'G' => self.take(8).map(drop).and_then(|()| self.push(Value::Inert)), // BINFLOAT
            b'U' | 0x8c => self.text(1),                   // SHORT_BINSTRING, SHORT_BINUNICODE
            b'T' | b'X' => self.text(4),                   // BINSTRING, BINUNICODE
            0x8d => self.text(8),                          // BINUNICODE8
            b'C' => self.skipped(1),                       // SHORT_BINBYTES
            b'B' => self.skipped(4),                       // BINBYTES
            0x8e | 0x96 => self.skipped(8),                // BINBYTES8, BYTEARRAY8
            b']' | b')' | 0x8f => self.push(Value::List(vec![])), // EMPTY_LIST, EMPTY_TUPLE, EMPTY_SET
            b'}' => self.push(Value::Dictionary(vec![])),  // EMPTY_DICT
            0x85..=0x87 => self.pop_many(usize::from(opcode - 0x84)).and_then(|items| self.list(items)), // TUPLE1..3
            b't' | b'l' | 0x91 => self.marked().and_then(|items| self.list(items)), // TUPLE, LIST, FROZENSET
            b'a' => self.pop().and_then(|item| self.append(vec![item])),
            b'e' | 0x90 => self.marked().and_then(|items| self.append(items)), // APPENDS, ADDITEMS
            b's' => self.pop_many(2).and_then(|items| self.set(&items)),       // SETITEM
            b'u' => self.marked().and_then(|items| self.set(&items)),          // SETITEMS
            b'q' => self.number(1).and_then(|slot| self.store(slot)),          // BINPUT
            b'r' => self.number(4).and_then(|slot| self.store(slot)),          // LONG_BINPUT
            0x94 => self.store(self.memo.len() as u64),                        // MEMOIZE
            b'h' => self.number(1).and_then(|slot| self.load(slot)),           // BINGET
            b'j' => self.number(4).and_then(|slot| self.load(slot)),           // LONG_BINGET
            b'c' => self.global(),                                             // GLOBAL
            0x93 => self.stack_global(),                                       // STACK_GLOBAL
            b'Q' => self.persistent(),                                         // BINPERSID
            b'R' | 0x81 => self.call(),                                        // REDUCE, NEWOBJ
            0x92 => self.pop().and_then(|_| self.call()), // NEWOBJ_EX: arguments by name come last
            b'b' => self.pop().map(drop),                 // BUILD: attributes are not read
            b'i' => self.instance(),                      // INST
            other => {
                Err(format!("the instruction {other:#04x} does not occur in pickles of parameters").into())
            }
        }
    }

    /// Takes the next `count` bytes.
    fn take(&mut self, count: usize) -> Step<&'a [u8]> {
        let rest = &self.bytes[self.at..];
        let taken = rest.get(..count).ok_or_else(|| {
            format!(
                "the file is truncated: {count} bytes expected, {} left\nhint: copy or download it again",
                rest.len()
            )
        })?;
        self.at += count;
        Ok(taken)
    }

    /// Reads an unsigned little-endian number of `width` bytes.
    fn number(&mut self, width: usize) -> Step<u64> {
        Ok(self.take(width)?.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte)))
    }

    /// Reads a length of `width` bytes, and then that many bytes.
    fn counted(&mut self, width: usize) -> Step<&'a [u8]> {
        let count = self.number(width)?;
        self.take(usize::try_from(count).unwrap_or(usize::MAX))
    }

    fn push(&mut self, value: Value) -> Step<()> {
        if self.values.len() == MOST_VALUES {
            return Err(format!("more than {MOST_VALUES} values").into());
        }
        self.stack.push(self.values.len());
        self.values.push(value);
        Ok(())
    }

    /// Pops the topmost value above the last mark.
    fn pop(&mut self) -> Step<Id> {
        let floor = self.marks.last().copied().unwrap_or(0);
        let id = if self.stack.len() > floor { self.stack.pop() } else { None };
        id.ok_or_else(|| STACK_TOO_SHORT.into())
    }

    /// Pops the topmost `count` values above the last mark.
    fn pop_many(&mut self, count: usize) -> Step<Vec<Id>> {
        let floor = self.marks.last().copied().unwrap_or(0);
        match self.stack.len().checked_sub(count) {
            Some(start) if start >= floor => Ok(self.stack.split_off(start)),
            _ => Err(STACK_TOO_SHORT.into()),
        }
    }

    fn mark(&mut self) -> Step<()> {
        if self.marks.len() == MOST_VALUES {
            return Err(format!("more than {MOST_VALUES} marks").into());
        }
        self.marks.push(self.stack.len());
        Ok(())
    }

    /// Pops the values above the last mark, and the mark.
    fn marked(&mut self) -> Step<Vec<Id>> {
        let start = self.marks.pop().ok_or(STACK_TOO_SHORT)?;
        Ok(self.stack.split_off(start))
    }

    /// The topmost value, which the instruction changes.
    fn top(&mut self) -> Step<&mut Value> {
        let floor = self.marks.last().copied().unwrap_or(0);
        match self.stack.last() {
            Some(&id) if self.stack.len() > floor => Ok(&mut self.values[id]),
            _ => Err(STACK_TOO_SHORT.into()),
        }
    }

    /// An integer of any length. One beyond 64 bits is not looked into.
    fn long(&mut self, width: usize) -> Step<()> {
        let bytes = self.counted(width)?;
        let negative = bytes.last().is_some_and(|last| last & 0x80 != 0);
        let start = if negative { -1 } else { 0 };
        let number = bytes.iter().rev().fold(start, |number: i64, &byte| number << 8 | i64::from(byte));
        self.push(if bytes.len() > 8 { Value::Inert } else { Value::Int(number) })
    }

    fn text(&mut self, width: usize) -> Step<()> {
        let bytes = self.counted(width)?;
        let kept = Some(bytes).filter(|bytes| bytes.len() <= LONGEST_TEXT);
        let text = kept.and_then(|bytes| std::str::from_utf8(bytes).ok());
        self.push(text.map_or(Value::Inert, |text| Value::Text(text.into())))
    }

    fn skipped(&mut self, width: usize) -> Step<()> {
        self.counted(width)?;
        self.push(Value::Inert)
    }

    fn list(&mut self, items: Vec<Id>) -> Step<()> {
        self.push(Value::List(items))
    }

    fn append(&mut self, items: Vec<Id>) -> Step<()> {
        match self.top()? {
            Value::List(list) => list.extend(items),
            Value::Inert => {}
            _ => return Err("items for something that is no list".into()),
        }
        Ok(())
    }

    /// Sets pairs of key and value.
    fn set(&mut self, items: &[Id]) -> Step<()> {
        if !items.len().is_multiple_of(2) {
            return Err("a key without a value".into());
        }
        match self.top()? {
            Value::Dictionary(entries) => entries.extend(items.chunks(2).map(|pair| (pair[0], pair[1]))),
            Value::Inert => {}
            _ => return Err("entries for something that is no dictionary".into()),
        }
        Ok(())
    }

    fn store(&mut self, slot: u64) -> Step<()> {
        let &id = self.stack.last().ok_or(STACK_TOO_SHORT)?;
        self.memo.insert(slot, id);
        Ok(())
    }

    fn load(&mut self, slot: u64) -> Step<()> {
        let &id = self.memo.get(&slot).ok_or_else(|| format!("nothing is stored in place {slot}"))?;
        if self.stack.len() == MOST_VALUES {
            return Err(format!("more than {MOST_VALUES} values on the stack").into());
        }
        self.stack.push(id);
        Ok(())
    }

    /// A name of Python, its module and itself each in a line.
    fn global(&mut self) -> Step<()> {
        let (module, name) = (self.line()?, self.line()?);
        self.push(Value::Global(Global::find(&module, &name)?))
    }

    fn line(&mut self) -> Step<String> {
        let rest = &self.bytes[self.at..];
        let end =
            rest.iter().take(LONGEST_TEXT).position(|&byte| byte == b'\n').ok_or("a name without an end")?;
        self.at += end + 1;
        Ok(String::from_utf8_lossy(&rest[..end]).into_owned())
    }

    fn stack_global(&mut self) -> Step<()> {
        let parts = self.pop_many(2)?;
        let [Value::Text(module), Value::Text(name)] = [parts[0], parts[1]].map(|id| &self.values[id]) else {
            return Err("a name that is no text".into());
        };
        let global = Global::find(module, name)?;
        self.push(Value::Global(global))
    }

    /// INST names a class and makes an object of it.
    fn instance(&mut self) -> Step<()> {
        self.global()?;
        Err("the instruction INST does not occur in pickles of parameters".into())
    }

    /// A storage: ('storage', its type, its key, its device, its number of elements).
    fn persistent(&mut self) -> Step<()> {
        let id = self.pop()?;
        let Value::List(parts) = &self.values[id] else { return Err("a reference that is no tuple".into()) };
        let parts: Vec<&Value> = parts.iter().map(|&id| &self.values[id]).collect();
        let storage = match parts[..] {
            [
                Value::Text(what),
                Value::Global(Global::Storage(element)),
                Value::Text(key),
                Value::Text(_),
                Value::Int(count),
                ref view @ ..,
            ] if **what == *"storage" && !view.iter().any(|view| matches!(view, Value::List(_))) => {
                let count = usize::try_from(*count).map_err(|_| "a storage of less than no elements")?;
                Storage { key: key.clone(), element: *element, count }
            }
            _ => return Err("a reference to something that is no storage".into()),
        };
        self.push(Value::Storage(storage))
    }

    /// What a call would return, as far as parameters need it. Nothing is called.
    fn call(&mut self) -> Step<()> {
        let arguments = self.pop()?;
        let callee = self.pop()?;
        let Value::Global(callee) = self.values[callee] else {
            return Err("a call of something that is no name".into());
        };
        // more arguments than these are not read, and a pickle may pass a long tuple many times
        let arguments: Vec<Id> = match &self.values[arguments] {
            Value::List(arguments) => arguments.iter().take(4).copied().collect(),
            _ => return Err("a call without a tuple of arguments".into()),
        };
        match callee {
            Global::RebuildTensor => {
                let view = self.view(&arguments)?;
                self.push(Value::Tensor(view))
            }
            Global::RebuildParameter | Global::Size => {
                self.stack.push(*arguments.first().ok_or("a call without arguments")?);
                Ok(())
            }
            Global::Dictionary => self.dictionary(&arguments),
            Global::Inert => self.push(Value::Inert),
            Global::Storage(_) => Err("a storage outside the file's own".into()),
        }
    }

    /// `OrderedDict()`, or `OrderedDict([[key, value], ..])`, as Python 2 writes it.
    fn dictionary(&mut self, arguments: &[Id]) -> Step<()> {
        let pairs = match arguments.first().map(|&first| &self.values[first]) {
            Some(Value::List(pairs)) => &pairs[..],
            _ => &[],
        };
        let pair = |&id: &Id| match &self.values[id] {
            Value::List(pair) if pair.len() == 2 => Ok((pair[0], pair[1])),
            _ => Err(Stop::from("an entry of a dictionary that is no pair")),
        };
        let entries: Vec<(Id, Id)> = pairs.iter().map(pair).collect::<Step<_>>()?;
        self.copied += entries.len();
        if self.copied > MOST_VALUES {
            return Err(format!("more than {MOST_VALUES} entries").into());
        }
        self.push(Value::Dictionary(entries))
    }

    /// The tensor of `_rebuild_tensor_v2(storage, offset, size, stride, ..)`.
    fn view(&self, arguments: &[Id]) -> Step<View> {
        let values: Vec<&Value> = arguments.iter().take(4).map(|&id| &self.values[id]).collect();
        let [Value::Storage(storage), Value::Int(offset), Value::List(size), Value::List(strides)] =
            values[..]
        else {
            return Err("a tensor without storage, offset, size and strides".into());
        };
        let natural = |id: &Id| match &self.values[*id] {
            Value::Int(number) => usize::try_from(*number).map_err(|_| Stop::from("a negative length")),
            _ => Err("a length that is no number".into()),
        };
        let naturals = |ids: &[Id]| ids.iter().map(natural).collect::<Step<Vec<usize>>>();
        let offset = usize::try_from(*offset).map_err(|_| "a negative offset")?;
        Ok(View::new(storage.clone(), offset, naturals(size)?, naturals(strides)?)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A pickle of protocol 2.
    fn pickled(body: &[u8]) -> Vec<u8> {
        [b"\x80\x02", body, b"."].concat()
    }

    fn refusal(body: &[u8]) -> String {
        parse(&pickled(body)).expect_err("must be refused").to_string()
    }

    /// Pickles that run a program when Python loads them. Here they are names, and names are refused.
    #[test]
    fn programs_are_refused_by_name() {
        for (body, name) in [
            (&b"cposix\nsystem\nX\x04\0\0\0true\x85R"[..], "posix.system"),
            (b"cos\nsystem\nX\x04\0\0\0true\x85R", "os.system"),
            (b"c__builtin__\neval\nX\x01\0\0\0a\x85R", "__builtin__.eval"),
            (b"cbuiltins\ngetattr\n", "builtins.getattr"),
            (b"X\x02\0\0\0osX\x06\0\0\0system\x93", "os.system"),
            // inside the arguments of a call that is allowed
            (b"ccollections\nOrderedDict\ncsubprocess\nPopen\n)R\x85R", "subprocess.Popen"),
            (b"}X\x01\0\0\0aciomodule\nloads\n)R", "iomodule.loads"),
            (b"(X\x01\0\0\0aios\nsystem\n", "os.system"),
            (b"ctorch.storage\n_load_from_bytes\nC\x01a\x85R", "torch.storage._load_from_bytes"),
            (b"ctorch.nn.modules.container\nSequential\n)\x81", "torch.nn.modules.container.Sequential"),
        ] {
            let refusal = refusal(body);
            assert!(refusal.contains(&format!("`{name}`")) && refusal.contains("nothing"), "{refusal}");
        }
    }

    #[test]
    fn arguments_of_a_training_are_not_looked_into() {
        let namespace = b"cargparse\nNamespace\n)\x81}X\x02\0\0\0lrG?\xb9\x99\x99\x99\x99\x99\x9asb";
        let document = parse(&pickled(namespace)).unwrap();
        assert!(matches!(document.value(document.root()), Value::Inert));
    }

    #[test]
    fn damaged_pickles_say_where() {
        for (body, says) in [
            (&b"X\xff\xff\xff\xff"[..], "truncated"),
            (b"t", "needs more values"),
            (b"h\x05", "nothing is stored"),
            (b"K\x01K\x02", "one value at the end"),
            (b"]K\x01s", "needs more values"),
            (b"(K\x01]a", "no list"),
            (b"ctorch\nFloatStorage\n)R", "outside the file's own"),
            (b"cargparse\nNamespace\nK\x01R", "tuple of arguments"),
            (b"\x82\x01", "0x82"),
        ] {
            let refusal = refusal(body);
            assert!(refusal.contains(says) && refusal.contains("byte "), "{refusal}");
        }
        assert!(parse(b"\x80\x07N.").is_err() && parse(b"").is_err());
    }
}
