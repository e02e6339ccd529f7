//! Nanoseconds a row of guest functions, beside the same work done natively: `cargo bench -p millpond-plugins`.
//! Batches of 8192 rows; the fastest, median and 90th percentile of rounds that take turns.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use arrow::array::{ArrayRef, AsArray, Float64Array, Int64Array, StringArray};
use arrow::datatypes::{Float64Type, Int64Type};
use millpond_engine::function::ModuleHost;
use millpond_plugins::{Limits, WasmHost};
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

const ROWS: usize = 8192;
const ROUNDS: usize = 31;
const CALLS_OF_A_ROUND: usize = 50;

fn main() {
    let host = WasmHost::new(Limits::default()).expect("host");
    let root = env!("CARGO_MANIFEST_DIR");
    let echo = wat::parse_file(format!("{root}/tests/guests/echo.wat")).expect("echo");
    let flights = std::fs::read(format!("{root}/../examples/flights/module/flights.wasm")).expect("flights");
    let started = Instant::now();
    let echo = host.load(&echo).expect("load");
    println!("load echo ({} functions): {:.1} ms", echo.functions().len(), started.elapsed().as_secs_f64() * 1e3);
    let started = Instant::now();
    let flights = host.load(&flights).expect("load");
    println!("load flights (24 KB of Rust): {:.1} ms", started.elapsed().as_secs_f64() * 1e3);

    let ints: ArrayRef = Arc::new(Int64Array::from_iter_values(0..ROWS as i64));
    // Places all over the globe, each column in another order: no function gets by with its arguments for zero.
    let degrees = |step: usize, most: f64| -> ArrayRef {
        let at = |row: usize| ((row * step) % 9973) as f64 / 9973.0;
        Arc::new(Float64Array::from_iter_values((0..ROWS).map(|row| (2.0 * at(row) - 1.0) * most)))
    };
    let four = vec![degrees(7, 90.0), degrees(2741, 180.0), degrees(5417, 90.0), degrees(8101, 180.0)];
    let texts: ArrayRef = Arc::new(StringArray::from_iter_values((0..ROWS).map(|i| format!("sixteen{i:09}"))));
    let tails: ArrayRef = Arc::new(StringArray::from_iter_values((0..ROWS).map(|i| format!("N{}", 1 + i))));
    let call = |module: &Arc<dyn millpond_engine::function::Module>, name: &str, columns: Vec<ArrayRef>| {
        let caller = module.instantiate(name, Duration::from_secs(60).into()).expect("instance");
        let one: Vec<ArrayRef> = columns.iter().map(|c| c.slice(0, 1)).collect();
        let started = Instant::now();
        caller.call(&one, 1).expect("call");
        println!("{name}: first call of one row, with instantiation: {:.1} µs", started.elapsed().as_secs_f64() * 1e6);
        move || drop(black_box(caller.call(black_box(&columns), ROWS).expect("call")))
    };

    let native = ints.clone();
    compare("s64 -> s64, identity", call(&echo, "echo_s64", vec![ints.clone()]), move || {
        black_box(Int64Array::from_iter(black_box(&native).as_primitive::<Int64Type>().iter()));
    });
    let native = four.clone();
    compare("f64 x 4 -> f64, a*b+c*d", call(&echo, "dot", four.clone()), move || {
        let [a, b, c, d] = columns(black_box(&native));
        let dot = Float64Array::from_iter_values((0..ROWS).map(|i| a[i] * b[i] + c[i] * d[i]));
        black_box(dot);
    });
    let native = four.clone();
    compare("f64 x 4 -> f64, haversine in Rust", call(&flights, "great_circle_km", four), move || {
        let [a, b, c, d] = columns(black_box(&native));
        let km = Float64Array::from_iter_values((0..ROWS).map(|i| haversine(a[i], b[i], c[i], d[i])));
        black_box(km);
    });
    let native = texts.clone();
    compare("string -> string, 16 bytes, identity", call(&echo, "echo_string", vec![texts]), move || {
        black_box(StringArray::from_iter(black_box(&native).as_string::<i32>().iter()));
    });
    let native = tails.clone();
    compare("string -> result<option<string>>, Rust", call(&flights, "parse_tail_number", vec![tails]), move || {
        let upper = black_box(&native).as_string::<i32>().iter().map(|t| t.map(|t| t.trim().to_ascii_uppercase()));
        black_box(StringArray::from_iter(upper));
    });
}

fn columns(columns: &[ArrayRef]) -> [&[f64]; 4] {
    std::array::from_fn(|n| &columns[n].as_primitive::<Float64Type>().values()[..])
}

fn haversine(lat1: f64, lon1: f64, lat2: f64, lon2: f64) -> f64 {
    let half_chord = |degrees: f64| (degrees.to_radians() / 2.0).sin().powi(2);
    let a = half_chord(lat2 - lat1) + lat1.to_radians().cos() * lat2.to_radians().cos() * half_chord(lon2 - lon1);
    2.0 * 6371.0088 * a.clamp(0.0, 1.0).sqrt().asin()
}

fn compare(what: &str, guest: impl Fn(), native: impl Fn()) {
    let (mut guests, mut natives) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        guests.push(ns_per_row(&guest));
        natives.push(ns_per_row(&native));
    }
    println!("{what}: guest {} ns/row, native {} ns/row", spread(guests), spread(natives));
}

fn ns_per_row(work: impl Fn()) -> f64 {
    let started = Instant::now();
    (0..CALLS_OF_A_ROUND).for_each(|_| work());
    started.elapsed().as_nanos() as f64 / (CALLS_OF_A_ROUND * ROWS) as f64
}

fn spread(mut rounds: Vec<f64>) -> String {
    rounds.sort_by(f64::total_cmp);
    format!("{:.2} / {:.2} / {:.2}", rounds[0], rounds[rounds.len() / 2], rounds[rounds.len() * 9 / 10])
}
