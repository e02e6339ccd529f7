//! What callers of guest functions see: values, NULLs, failures, limits. One guest program per behaviour, in `guests/`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use arrow::array::*;
use arrow::buffer::NullBuffer;
use arrow::datatypes::*;
use millpond_engine::Error;
use millpond_engine::function::{CallLimits, FunctionInstance, Module, ModuleHost};
use millpond_plugins::{Limits, WasmHost};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

const DEADLINE: Duration = Duration::from_secs(30);

fn guest(name: &str) -> Arc<dyn Module> {
    let path = format!("{}/tests/guests/{name}.wat", env!("CARGO_MANIFEST_DIR"));
    let bytes = wat::parse_file(path).expect("the guest assembles");
    WasmHost::new(Limits::default()).expect("host").load(&bytes).expect("the guest loads")
}

fn call(module: &Arc<dyn Module>, function: &str, arguments: &[ArrayRef]) -> Result<ArrayRef, Error> {
    let rows = arguments.first().map_or(1, |a| a.len());
    module.instantiate(function, DEADLINE.into())?.call(arguments, rows)
}

/// (sqlstate, message, detail) of a failed call.
fn failure(result: Result<ArrayRef, Error>) -> (String, String, String) {
    match result {
        Err(Error::Function { sqlstate, message, detail, .. }) => (sqlstate.into(), message, detail),
        other => panic!("expected a function error, got {other:?}"),
    }
}

fn ints(values: impl IntoIterator<Item = i64>) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(values))
}

fn small_ints(values: Vec<i32>) -> ArrayRef {
    Arc::new(Int32Array::from(values))
}

/// A column with and without NULLs of every WIT type, extremes included.
fn columns() -> Vec<(&'static str, ArrayRef)> {
    let decimals = |v: Vec<Option<i128>>| -> ArrayRef {
        Arc::new(Decimal128Array::from(v).with_precision_and_scale(20, 0).expect("fits"))
    };
    vec![
        ("bool", Arc::new(BooleanArray::from(vec![Some(true), None, Some(false), Some(true)]))),
        ("s8", Arc::new(Int16Array::from(vec![Some(-128), None, Some(127), Some(-1)]))),
        ("u8", Arc::new(Int16Array::from(vec![Some(0), None, Some(255), Some(128)]))),
        ("s16", Arc::new(Int16Array::from(vec![Some(i16::MIN), None, Some(i16::MAX), Some(-1)]))),
        ("u16", Arc::new(Int32Array::from(vec![Some(0), None, Some(65535), Some(40000)]))),
        ("s32", Arc::new(Int32Array::from(vec![Some(i32::MIN), None, Some(i32::MAX), Some(-1)]))),
        ("u32", Arc::new(Int64Array::from(vec![Some(0), None, Some(u32::MAX.into()), Some(1 << 31)]))),
        ("s64", Arc::new(Int64Array::from(vec![Some(i64::MIN), None, Some(i64::MAX), Some(-1)]))),
        ("u64", decimals(vec![Some(0), None, Some(u64::MAX.into()), Some(1 << 63)])),
        ("f32", Arc::new(Float32Array::from(vec![Some(f32::MIN), None, Some(-0.0), Some(f32::INFINITY)]))),
        ("f64", Arc::new(Float64Array::from(vec![Some(f64::MIN), None, Some(-0.0), Some(f64::INFINITY)]))),
        ("string", Arc::new(StringArray::from(vec![Some(""), None, Some("čeština 🛩"), Some("x")]))),
        ("bytes", Arc::new(BinaryArray::from(vec![Some(&b""[..]), None, Some(&[0, 255, 128]), Some(b"x")]))),
    ]
}

#[test]
fn every_type_returns_as_it_came() {
    let module = guest("echo");
    for (ty, column) in columns() {
        let variable = matches!(ty, "string" | "bytes");
        let result_takes = if variable { "both" } else { "result" };
        for function in [format!("echo_{ty}"), format!("option_{ty}"), format!("{result_takes}_{ty}")] {
            let returned = call(&module, &function, &[column.clone()]).expect(&function);
            assert_eq!(&returned, &column, "{function}");
            // A slice that starts amid a byte of the bitmap, and one without NULLs.
            for (offset, length) in [(1, 3), (2, 2), (3, 1)] {
                let slice = column.slice(offset, length);
                assert_eq!(&call(&module, &function, &[slice.clone()]).expect(&function), &slice, "{function}");
            }
        }
    }
}

#[test]
fn signatures_have_the_sql_type_of_every_wit_type() {
    let module = guest("echo");
    let signatures = module.functions();
    for (ty, column) in columns() {
        for (prefix, sees_null) in [("echo", false), ("option", true)] {
            let name = format!("{prefix}_{ty}");
            let signature = signatures.iter().find(|s| s.name == name).expect(&name);
            assert_eq!(signature.parameters, vec![("x".to_string(), column.data_type().clone())], "{name}");
            assert_eq!(&signature.returns, column.data_type(), "{name}");
            assert_eq!(signature.sees_null, vec![sees_null], "{name}");
        }
    }
    // From an exported interface; its second `nine` is dropped.
    assert_eq!(signatures.iter().filter(|s| s.name == "nine").count(), 1);
    assert!(signatures.iter().any(|s| s.name == "ten_or_more"));
}

#[test]
fn nulls_reach_only_who_asks_for_them() {
    let module = guest("echo");
    let column: ArrayRef = Arc::new(Float64Array::from(vec![Some(1.0), None]));
    let answer = call(&module, "is_null", &[column]).expect("call");
    assert_eq!(answer.as_boolean(), &BooleanArray::from(vec![false, true]));
    // A strict function is not called for NULL: zero divisors there do not trap.
    let module = guest("trap");
    let a: ArrayRef = Arc::new(Int64Array::from(vec![Some(8), None, Some(9)]));
    let b: ArrayRef = Arc::new(Int64Array::new(vec![2, 0, 0].into(), Some(NullBuffer::from(vec![true, true, false]))));
    let answer = call(&module, "divide", &[a, b]).expect("call");
    assert_eq!(answer.as_primitive::<Int64Type>(), &Int64Array::from(vec![Some(4), None, None]));
}

#[test]
fn functions_without_parameters_and_empty_batches_work() {
    let module = guest("echo");
    let nine = module.instantiate("nine", DEADLINE.into()).expect("nine");
    assert_eq!(&nine.call(&[], 3).expect("call"), &ints([9, 9, 9]));
    assert_eq!(nine.call(&[], 0).expect("call").len(), 0);
    let empty: ArrayRef = Arc::new(StringArray::from(Vec::<&str>::new()));
    assert_eq!(call(&module, "echo_string", &[empty.clone()]).expect("call").data_type(), &DataType::Utf8);
}

#[test]
fn many_rows_equal_the_native_computation() {
    const ROWS: usize = 100_000;
    let module = guest("echo");
    let column = |seed: usize| -> ArrayRef {
        Arc::new(Float64Array::from_iter((0..ROWS).map(|i| (i % 7 != seed).then_some((i * seed) as f64 / 3.0))))
    };
    let columns: Vec<ArrayRef> = (1..5).map(column).collect();
    let got = call(&module, "dot", &columns).expect("call");
    let native: Float64Array = (0..ROWS)
        .map(|i| {
            let at = |c: usize| columns[c].is_valid(i).then(|| columns[c].as_primitive::<Float64Type>().value(i));
            Some(at(0)? * at(1)? + at(2)? * at(3)?)
        })
        .collect();
    assert_eq!(got.as_primitive::<Float64Type>(), &native);
    let texts: ArrayRef =
        Arc::new(StringArray::from_iter((0..ROWS).map(|i| (i % 5 != 0).then(|| format!("žlutý kůň {i}")))));
    assert_eq!(&call(&module, "both_string", &[texts.clone()]).expect("call"), &texts);
    assert_eq!(&call(&module, "echo_string", &[texts.clone()]).expect("call"), &texts);
}

/// Whatever bits a guest gives its NaNs, a column has one NaN: else equal answers would be different rows of a view.
#[test]
fn nans_have_one_bit_pattern() {
    let module = guest("echo");
    let patterns = [f64::NAN.to_bits(), 0xfff8_0000_0000_0000, 0x7ff0_0000_0000_0001, 0xffff_ffff_ffff_ffff];
    let column: ArrayRef = Arc::new(Float64Array::from_iter(
        patterns.iter().map(|bits| Some(f64::from_bits(*bits))).chain([None, Some(-0.0)]),
    ));
    for function in ["echo_f64", "option_f64", "result_f64"] {
        let answer = call(&module, function, &[column.clone()]).expect(function);
        let answer = answer.as_primitive::<Float64Type>();
        let bits: Vec<Option<u64>> = answer.iter().map(|value| value.map(f64::to_bits)).collect();
        let nan = Some(f64::NAN.to_bits());
        assert_eq!(bits, [nan, nan, nan, nan, None, Some((-0.0f64).to_bits())], "{function}");
    }
    let narrow: ArrayRef = Arc::new(Float32Array::from(vec![f32::from_bits(0xffc0_0001), 1.0]));
    let answer = call(&module, "echo_f32", &[narrow]).expect("call");
    let answer = answer.as_primitive::<Float32Type>();
    assert_eq!((answer.value(0).to_bits(), answer.value(1)), (f32::NAN.to_bits(), 1.0));
}

#[test]
fn large_arguments_are_split_and_a_larger_row_is_refused() {
    let module = guest("echo");
    let texts: ArrayRef = Arc::new(StringArray::from_iter_values((0..64).map(|i| format!("{i}").repeat(400_000))));
    let lengths = call(&module, "length", &[texts]).expect("call");
    assert_eq!(lengths.as_primitive::<Int64Type>().value(63), 800_000);
    let huge: ArrayRef = Arc::new(StringArray::from(vec!["x".repeat(9 << 20)]));
    let (sqlstate, message, _) = failure(call(&module, "length", &[huge]));
    assert_eq!(sqlstate, "54000");
    assert!(message.contains("arguments of one row"), "{message}");
}

#[test]
fn large_answers_are_split_and_a_larger_value_is_refused() {
    let module = guest("output");
    let sizes = small_ints(vec![3 << 20; 40]);
    let answer = call(&module, "zero_bytes", &[sizes]).expect("120 MiB in all");
    assert_eq!(answer.as_binary::<i32>().value(39).len(), 3 << 20);
    let (sqlstate, message, detail) = failure(call(&module, "zeros", &[small_ints(vec![1, 2, (16 << 20) + 1, 4])]));
    assert_eq!(sqlstate, "54000");
    assert!(message.contains("a value of more than 16777216 bytes"), "{message}");
    assert!(detail.contains("row 2"), "{detail}");
    let (sqlstate, message, _) = failure(call(&module, "zero_bytes", &[small_ints(vec![16 << 20; 20])]));
    assert_eq!(sqlstate, "54000");
    assert!(message.contains("for one batch"), "{message}");
}

#[test]
fn guest_errors_are_sql_errors_with_its_text() {
    let module = guest("echo");
    let caller = module.instantiate("result_string", DEADLINE.into()).expect("instance");
    let mut words = vec!["fine"; 10_000];
    words[9_000] = "!no such tail";
    let column: ArrayRef = Arc::new(StringArray::from(words));
    let (sqlstate, message, detail) = failure(caller.call(&[column.clone()], 10_000));
    assert_eq!((sqlstate.as_str(), message.as_str()), ("38000", "!no such tail"));
    assert!(detail.contains("row 9000"), "{detail}");
    let fine = column.slice(0, 100);
    assert_eq!(&caller.call(&[fine.clone()], 100).expect("the instance lives on"), &fine);
}

#[test]
fn traps_name_their_row_and_the_next_call_works() {
    let module = guest("trap");
    let caller = module.instantiate("divide", DEADLINE.into()).expect("instance");
    let divisors = ints((0..20_000).map(|i| 17_123 - i));
    let (sqlstate, message, detail) = failure(caller.call(&[ints(0..20_000), divisors], 20_000));
    assert_eq!(sqlstate, "38000");
    assert!(message.contains("integer divide by zero"), "{message}");
    assert!(detail.contains("row 17123 "), "{detail}");
    assert!(detail.contains("divide"), "a backtrace: {detail}");
    assert_eq!(&caller.call(&[ints([6]), ints([3])], 1).expect("call"), &ints([2]));
    let (sqlstate, message, _) = failure(call(&module, "descend", &[ints([1 << 30])]));
    assert_eq!(sqlstate, "38000");
    assert!(message.contains("call stack exhausted"), "{message}");
    let (_, message, _) = failure(call(&module, "give_up", &[ints([1])]));
    assert!(message.contains("unreachable"), "{message}");
}

#[test]
fn deadlines_end_loops_and_the_next_call_works() {
    let module = guest("spin");
    let caller = module.instantiate("spin", Duration::from_millis(60).into()).expect("instance");
    let started = Instant::now();
    let (sqlstate, message, _) = failure(caller.call(&[ints([1, -1, 2])], 3));
    assert_eq!(sqlstate, "57014");
    assert_eq!(message, "ran longer than 60 ms", "whoever shows it says whose it is");
    assert!(started.elapsed() >= Duration::from_millis(50) && started.elapsed() < Duration::from_secs(10));
    assert_eq!(&caller.call(&[ints([1, 2])], 2).expect("call"), &ints([2, 3]));
    let starting = guest("start").instantiate("f", Duration::from_millis(30).into()).expect("lazy");
    assert_eq!(failure(starting.call(&[ints([1])], 1)).0, "57014");
    let unbounded = module.instantiate("spin", Duration::MAX.into()).expect("instance");
    assert_eq!(&unbounded.call(&[ints([1])], 1).expect("call"), &ints([2]));
    let none = module.instantiate("spin", Duration::ZERO.into()).expect("instance");
    assert_eq!(failure(none.call(&[ints([1])], 1)).0, "57014");
}

#[test]
fn memory_is_bounded_and_the_next_call_works() {
    let module = guest("hoard");
    let caller = module.instantiate("hoard", DEADLINE.into()).expect("instance");
    assert_eq!(&caller.call(&[small_ints(vec![1023])], 1).expect("64 MiB"), &small_ints(vec![1024]));
    let (sqlstate, message, _) = failure(caller.call(&[small_ints(vec![1])], 1));
    assert_eq!(sqlstate, "53200");
    assert!(message.contains("67108864 bytes of memory"), "{message}");
    assert_eq!(&caller.call(&[small_ints(vec![1])], 1).expect("a fresh instance"), &small_ints(vec![2]));
}

#[test]
fn answers_that_are_not_text_or_not_there_are_refused() {
    let module = guest("output");
    let (sqlstate, message, _) = failure(call(&module, "broken_text", &[small_ints(vec![1])]));
    assert_eq!(sqlstate, "38000");
    assert!(message.to_lowercase().contains("utf"), "{message}");
    assert_eq!(failure(call(&module, "outside", &[small_ints(vec![1])])).0, "38000");
}

#[test]
fn arguments_are_checked_before_the_guest_sees_them() {
    let module = guest("echo");
    let column: ArrayRef = Arc::new(Int16Array::from(vec![1, 256]));
    let (sqlstate, message, detail) = failure(call(&module, "echo_u8", &[column]));
    assert_eq!((sqlstate.as_str(), message.as_str()), ("22003", "argument x is out of the range of u8"));
    assert!(detail.contains("row 1"), "{detail}");
    let negative: ArrayRef = Arc::new(Decimal128Array::from(vec![-1]).with_precision_and_scale(20, 0).expect("fits"));
    assert_eq!(failure(call(&module, "echo_u64", &[negative])).0, "22003");
    assert!(matches!(call(&module, "echo_s64", &[small_ints(vec![1])]), Err(Error::Invalid(_))));
    assert!(matches!(call(&module, "dot", &[ints([1])]), Err(Error::Invalid(_))));
    let caller = module.instantiate("echo_s64", DEADLINE.into()).expect("instance");
    assert!(matches!(caller.call(&[ints([1])], 2), Err(Error::Invalid(_))));
    assert!(matches!(module.instantiate("none", DEADLINE.into()), Err(Error::NotFound(_))));
}

#[test]
fn threads_may_share_a_caller() {
    let module = guest("echo");
    let caller: Arc<dyn FunctionInstance> = module.instantiate("echo_string", DEADLINE.into()).expect("instance");
    drop(module);
    std::thread::scope(|scope| {
        for thread in 0..6 {
            let caller = caller.clone();
            scope.spawn(move || {
                for round in 0..40 {
                    let column: ArrayRef =
                        Arc::new(StringArray::from_iter_values((0..500).map(|i| format!("{thread} {round} {i}"))));
                    assert_eq!(&caller.call(&[column.clone()], 500).expect("call"), &column);
                }
            });
        }
    });
}

/// A host for 100 MiB of statements and as much of views, with the guests "hoard" and "hold".
fn small_host() -> (Arc<dyn Module>, Arc<dyn Module>) {
    let (statements_memory_bytes_max, views_memory_bytes_max) = (100 << 20, 100 << 20);
    let limits = Limits { statements_memory_bytes_max, views_memory_bytes_max, ..Limits::default() };
    let host = WasmHost::new(limits).expect("host");
    let load = |name: &str| {
        let path = format!("{}/tests/guests/{name}.wat", env!("CARGO_MANIFEST_DIR"));
        host.load(&wat::parse_file(path).expect("the guest assembles")).expect("the guest loads")
    };
    (load("hoard"), load("hold"))
}

/// A call with 800 pages, 50 MiB.
fn hoard(module: &Arc<dyn Module>, limits: CallLimits) -> Result<Arc<dyn FunctionInstance>, Error> {
    let caller = module.instantiate("hoard", limits)?;
    caller.call(&[small_ints(vec![800])], 1).map(|_| caller)
}

/// Each instance is within its own bound; those that run for statements are within theirs together, and views do not
/// notice.
#[test]
fn running_instances_share_memory_with_their_kind() {
    let (hoarding, holding) = small_host();
    let limits = CallLimits::from(Duration::from_secs(600));
    std::thread::scope(|scope| {
        let held = scope.spawn(|| {
            let holder = holding.instantiate("hold", limits.clone()).expect("instance");
            holder.call(&[small_ints(vec![800])], 1)
        });
        let began = Instant::now();
        let refused = loop {
            // In its first moments the other has taken nothing yet.
            match hoard(&hoarding, DEADLINE.into()) {
                Err(refused) => break refused,
                Ok(_) => assert!(began.elapsed() < DEADLINE && !held.is_finished(), "100 MiB and more were given"),
            }
        };
        let (sqlstate, message, detail) = failure(Err(refused));
        assert_eq!(sqlstate, "53200");
        assert!(message.contains("no memory left for functions of statements"), "{message}");
        assert!(detail.contains("104857600"), "{detail}");
        hoard(&hoarding, CallLimits::of_view(DEADLINE)).expect("a view's call has memory of its own");
        limits.cancel.store(true, Ordering::Relaxed);
        assert!(matches!(held.join().expect("no panic"), Err(Error::Stopped(_))));
    });
    for _ in 0..20 {
        hoard(&hoarding, DEADLINE.into()).expect("it was given back");
    }
}

/// What waits for its caller's next call is not in the way of calls that run now.
#[test]
fn idle_instances_give_way() {
    let (hoarding, _) = small_host();
    for limits in [CallLimits::from(DEADLINE), CallLimits::of_view(DEADLINE)] {
        let callers: Vec<_> = (0..20).map(|_| hoard(&hoarding, limits.clone()).expect("others give way")).collect();
        for caller in callers.iter().chain(&callers) {
            assert!(caller.call(&[small_ints(vec![1])], 1).is_ok(), "a caller whose instance is gone makes another");
        }
        let caller = hoarding.instantiate("hoard", limits).expect("instance");
        assert_eq!(failure(caller.call(&[small_ints(vec![2000])], 1)).0, "53200", "more than one may have");
    }
}

#[test]
fn a_store_has_few_memories() {
    let memories = "(core module $m (memory 1)) (core instance (instantiate $m))";
    let text = |count: usize| {
        let more = memories.replace("$m", "$x").replace("(core module $x (memory 1))", "").repeat(count);
        format!(
            r#"(component (core module $x (memory 1)) {more}
            (core module $m (func (export "f") (param i32) (result i32) (local.get 0)))
            (core instance $i (instantiate $m))
            (func (export "f") (param "n" s32) (result s32) (canon lift (core func $i "f"))))"#
        )
    };
    let load = |count| {
        let bytes = wat::parse_str(text(count)).expect("assembles");
        let module = WasmHost::new(Limits::default()).expect("host").load(&bytes).expect("loads");
        call(&module, "f", &[small_ints(vec![1])])
    };
    assert!(load(3).is_ok());
    assert!(load(4).is_err(), "each takes an address space");
}

/// The deadline is that of a call of at most 8192 rows; a column of a view has 65,536.
#[test]
fn a_long_column_has_a_deadline_for_each_of_its_calls() {
    let module = guest("work");
    let column = |rows: usize, each: i64| -> ArrayRef { Arc::new(Int64Array::from(vec![each; rows])) };
    let caller = module.instantiate("work", DEADLINE.into()).expect("instance");
    // As many rounds as take a call some 50 ms here.
    let (mut each, mut took) = (1000, Duration::ZERO);
    while took < Duration::from_millis(50) {
        each *= 2;
        let began = Instant::now();
        caller.call(&[column(8192, each)], 8192).expect("in time");
        took = began.elapsed();
    }
    let caller = module.instantiate("work", (took * 6).into()).expect("instance");
    let began = Instant::now();
    caller.call(&[column(12 * 8192, each)], 12 * 8192).expect("each call is in time");
    assert!(began.elapsed() > took * 6, "the column took less than one deadline: nothing was shown");
}

#[test]
fn text_with_a_nul_is_refused() {
    let module = guest("output");
    assert_eq!(failure(call(&module, "zeros", &[small_ints(vec![2])])).0, "22021");
    assert_eq!(call(&module, "zeros", &[small_ints(vec![0])]).expect("empty").as_string::<i32>().value(0), "");
    assert!(call(&module, "zero_bytes", &[small_ints(vec![2])]).is_ok(), "bytes may be zero");
}
