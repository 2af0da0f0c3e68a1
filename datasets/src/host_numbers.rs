//! What a batch needs on the device beside its images, sent in one copy. A copy of its own for each small
//! array would make the device wait for the host every time.

use std::cell::OnceCell;

use tch::{Device, Kind, Tensor};

/// Arrays of numbers, one after the other, on the host.
#[derive(Debug, Default)]
pub struct HostNumbers {
    values: Vec<f64>,
}

/// Where an array lies among the numbers.
#[derive(Clone, Debug)]
pub struct Slot {
    start: i64,
    shape: Vec<i64>,
}

/// The same arrays on a device.
#[derive(Debug)]
pub struct DeviceNumbers {
    /// (n), f64.
    all: Tensor,
    /// The same in float32, in which most arrays are wanted; made at the first use.
    floats: OnceCell<Tensor>,
}

impl HostNumbers {
    /// Adds an array of this shape, whose `values` are in row-major order. Integers must be below 2^53.
    ///
    /// # Panics
    /// Panics if there are more or fewer values than the shape has.
    pub fn push(&mut self, shape: &[i64], values: impl IntoIterator<Item = f64>) -> Slot {
        let start = self.values.len();
        self.values.extend(values);
        let length = (self.values.len() - start) as i64;
        assert_eq!(length, shape.iter().product::<i64>(), "values of an array of shape {shape:?}");
        Slot { start: start as i64, shape: shape.to_vec() }
    }

    /// Adds a row of indices.
    ///
    /// # Panics
    /// As [`HostNumbers::push`]; never, since the row has their number.
    pub fn push_indices(&mut self, indices: &[usize]) -> Slot {
        self.push(&[indices.len() as i64], indices.iter().map(|&index| index as f64))
    }

    /// Copies all arrays to `device`.
    pub fn on_device(&self, device: Device) -> DeviceNumbers {
        let all = queued(&Tensor::from_slice(&self.values), device);
        DeviceNumbers { all, floats: OnceCell::new() }
    }
}

impl DeviceNumbers {
    /// The array in `slot`, as numbers of `kind`.
    pub fn get(&self, slot: &Slot, kind: Kind) -> Tensor {
        let length = slot.shape.iter().product();
        let all = match kind {
            Kind::Float => self.floats.get_or_init(|| self.all.to_kind(kind)),
            _ => &self.all,
        };
        all.narrow(0, slot.start, length).to_kind(kind).view(slot.shape.as_slice())
    }
}

/// A tensor of the host on `device`. The copy to a GPU is queued behind the work of this thread's stream, and
/// this thread does not wait for it: the values are first copied into memory that the GPU reads by itself.
/// libtorch keeps that memory for later copies.
pub fn queued(tensor: &Tensor, device: Device) -> Tensor {
    if !device.is_cuda() {
        return tensor.to_device(device);
    }
    let non_blocking = true;
    tensor.internal_pin_memory(device).to_device_(device, tensor.kind(), non_blocking, false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_come_back_as_they_were_put_in() {
        let mut numbers = HostNumbers::default();
        let first = numbers.push(&[2, 1], [0.1, -2.5]);
        let large = numbers.push_indices(&[7, (1 << 53) - 1]);
        let none = numbers.push(&[0, 3], []);
        let numbers = numbers.on_device(Device::Cpu);
        assert_eq!(numbers.get(&first, Kind::Float), Tensor::from_slice(&[0.1f32, -2.5]).view([2, 1]));
        assert_eq!(numbers.get(&large, Kind::Int64), Tensor::from_slice(&[7i64, (1 << 53) - 1]));
        assert_eq!(numbers.get(&none, Kind::Double).size(), [0, 3]);
    }

    #[test]
    #[should_panic(expected = "values of an array of shape [2, 2]")]
    fn an_array_has_the_values_of_its_shape() {
        HostNumbers::default().push(&[2, 2], [1.0]);
    }
}
