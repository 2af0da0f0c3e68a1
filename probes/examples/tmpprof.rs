use std::time::Instant;
use tch::{Device, Kind, Tensor};
fn time(name: &str, gflop: f64, gb: f64, mut f: impl FnMut()) {
    f();
    let mut s = f64::MAX;
    for _ in 0..12 {
        let t = Instant::now();
        f();
        s = s.min(t.elapsed().as_secs_f64());
    }
    println!("{name:28} {:.1} ms  {:.0} GFLOP/s {:.1} GB/s", s * 1e3, gflop / s, gb / s);
}
fn main() {
    tch::set_num_threads(2);
    let _g = tch::no_grad_guard();
    {
        let a = Tensor::randn([4096, 4096], (Kind::Float, Device::Cpu));
        let oo = a.zeros_like();
        time("ceiling", 2.0 * 4096f64.powi(3) / 1e9, 0., || {
            let _ = a.matmul_out(&oo, &a);
        });
    }
    let o = (Kind::Float, Device::Cpu);
    let (p, s, b, d, h) = (6i64, 5i64, 256i64, 1024i64, 1024i64);
    let g = p * s;
    let x = Tensor::randn([s, b, d], o);
    let w = Tensor::randn([g, d, h], o);
    let bias = Tensor::randn([g, 1, h], o);
    let hid = Tensor::zeros([g, b, h], o);
    let h2 = Tensor::randn([g, b, h], o);
    let gw = Tensor::zeros([g, d, h], o);
    let fl = |g: i64| 2.0 * (g * b * d * h) as f64 / 1e9;
    time("layer1 baddbmm by problem", fl(g), 0., || {
        for i in 0..p {
            let n = |t: &Tensor| t.narrow(0, i * s, s);
            let _ = n(&bias).baddbmm_out(&n(&hid), &x, &n(&w));
        }
    });
    time("layer2 baddbmm", fl(g), 0., || {
        let _ = bias.baddbmm_out(&hid, &h2, &w);
    });
    time("bmm_out", fl(g), 0., || {
        let _ = h2.bmm_out(&hid, &w);
    });
    time("dX bmm w^T", fl(g), 0., || {
        let _ = h2.bmm_out(&hid, &w.transpose(1, 2));
    });
    time("dW bmm x^T", fl(g), 0., || {
        let _ = hid.transpose(1, 2).bmm_out(&gw, &h2);
    });
    time("layer2 by mm loop", fl(g), 0., || {
        for i in 0..g {
            let _ = h2.get(i).mm_out(&hid.get(i), &w.get(i));
        }
    });
    time("layer2 by addmm loop", fl(g), 0., || {
        for i in 0..g {
            let _ = bias.get(i).addmm_out(&hid.get(i), &h2.get(i), &w.get(i));
        }
    });
    time("dX by mm loop", fl(g), 0., || {
        for i in 0..g {
            let _ = h2.get(i).mm_out(&hid.get(i), &w.get(i).tr());
        }
    });
    time("dW by mm loop", fl(g), 0., || {
        for i in 0..g {
            let _ = hid.get(i).tr().mm_out(&gw.get(i), &h2.get(i));
        }
    });
    time("relu_", 0., 2.0 * (g * b * h * 4) as f64 / 1e9, || {
        let _ = hid.shallow_clone().relu_();
    });
    time("threshold", 0., 3.0 * (g * b * h * 4) as f64 / 1e9, || {
        let _ = h2.threshold_backward_grad_input(&hid, &hid, 0.0);
    });
    time("sum rows", 0., (g * b * h * 4) as f64 / 1e9, || {
        let _ = hid.sum_intlist_out(&bias, &[1i64][..], true, Kind::Float);
    });
    let n = 2 * g * d * h;
    let (v, gr, m, sq) = (Tensor::randn([n], o), Tensor::randn([n], o), Tensor::zeros([n], o), Tensor::zeros([n], o));
    for c in [1i64 << 15, 1 << 16, 1 << 17, 1 << 18, n] {
        let root = Tensor::zeros([c], o);
        let ch: Vec<_> = (0..n)
            .step_by(c as usize)
            .map(|a| {
                let f = |t: &Tensor| t.narrow(0, a, c.min(n - a));
                (f(&v), f(&gr), f(&m), f(&sq), root.narrow(0, 0, c.min(n - a)))
            })
            .collect();
        time(&format!("adam chunk {c}"), 0., 7.0 * (n * 4) as f64 / 1e9, || {
            for (v, g, m, s, r) in &ch {
                let (mut v, mut m, mut s, mut r) =
                    (v.shallow_clone(), m.shallow_clone(), s.shallow_clone(), r.shallow_clone());
                let _ = m.lerp_(g, 0.1);
                let _ = s.g_mul_scalar_(0.999);
                let _ = s.addcmul_(g, g);
                let _ = s.sqrt_out(&r);
                let _ = r.g_mul_scalar_(-3.0);
                let _ = r.g_add_scalar_(-1e-5);
                let _ = v.addcdiv_(&m, &r);
            }
        });
    }
    for c in [1i64 << 13, 1 << 14, (1 << 15) - 64] {
        let f = |a: i64| {
            let root = Tensor::zeros([c], o);
            move |t: &Tensor| {
                let _ = &root;
                t.narrow(0, a, c.min(n - a))
            }
        };
        let mut ch: Vec<[Tensor; 4]> = (0..n)
            .step_by(c as usize)
            .map(|a| {
                let f = f(a);
                [f(&v), f(&gr), f(&m), f(&sq)]
            })
            .collect();
        let half = ch.len() / 2 + 1;
        time(&format!("adam threads chunk {c}"), 0., 7.0 * (n * 4) as f64 / 1e9, || {
            std::thread::scope(|sc| {
                for part in ch.chunks_mut(half) {
                    sc.spawn(move || {
                        let r = Tensor::zeros([c], (Kind::Float, Device::Cpu));
                        for [v, g, m, s] in part {
                            let mut r = r.narrow(0, 0, v.size()[0]);
                            let _ = m.lerp_(g, 0.1);
                            let _ = s.g_mul_scalar_(0.999);
                            let _ = s.addcmul_(g, g);
                            let _ = s.sqrt_out(&r);
                            let _ = r.g_mul_scalar_(-3.0);
                            let _ = r.g_add_scalar_(-1e-5);
                            let _ = v.addcdiv_(m, &r);
                        }
                    });
                }
            })
        });
    }
    let feats = Tensor::randn([10000, d], o);
    let idx = Tensor::randint(10000, [s * b], (Kind::Int64, Device::Cpu));
    let xb = Tensor::zeros([s * b, d], o);
    time("gather", 0., 2.0 * (s * b * d * 4) as f64 / 1e9, || {
        let _ = feats.index_select_out(&xb, 0, &idx);
    });
    let mut c = v.shallow_clone();
    time("copy", 0., 2.0 * (n * 4) as f64 / 1e9, || {
        c.copy_(&gr);
    });
}
