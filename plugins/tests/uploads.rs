//! What may be uploaded: components and core modules with their component type; everything else is refused with a reason.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int64Array, StringArray};
use arrow::datatypes::{DataType, Float64Type};
use millpond_engine::Error;
use millpond_engine::function::{Module, ModuleHost};
use millpond_plugins::{Limits, WasmHost};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use wit_component::{StringEncoding, embed_component_metadata};

const DEADLINE: Duration = Duration::from_secs(30);

fn host() -> WasmHost {
    WasmHost::new(Limits::default()).expect("host")
}

fn guests() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/guests")
}

fn assembled(name: &str) -> Vec<u8> {
    wat::parse_file(guests().join(format!("{name}.wat"))).expect("the guest assembles")
}

fn refusal(bytes: &[u8]) -> String {
    match host().load(bytes) {
        Err(Error::Invalid(reason)) => reason,
        other => panic!("expected a refusal, got {other:?}"),
    }
}

fn flights() -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../examples/flights/module/flights.wasm");
    std::fs::read(path).expect("flights.wasm is checked in")
}

/// A core module with the component type that `world` (WIT) gives it.
fn core_module(text: &str, wit: &str) -> Vec<u8> {
    let mut resolve = wit_parser::Resolve::default();
    let package = resolve.push_str("guest.wit", wit).expect("WIT");
    let world = resolve.select_world(&[package], None).expect("world");
    let mut module = wat::parse_str(text).expect("core module");
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).expect("embed");
    module
}

/// The checked-in binaries, for tests without an assembler, are those of the text. `MILLPOND_REGENERATE=1` writes them.
#[test]
fn checked_in_guests_are_the_assembled_text() {
    for entry in std::fs::read_dir(guests()).expect("guests") {
        let path = entry.expect("entry").path();
        if path.extension().is_none_or(|e| e != "wat") {
            continue;
        }
        let (bytes, binary) = (wat::parse_file(&path).expect("assembles"), path.with_extension("wasm"));
        if std::env::var_os("MILLPOND_REGENERATE").is_some() {
            std::fs::write(&binary, &bytes).expect("write");
        }
        assert!(std::fs::read(&binary).is_ok_and(|b| b == bytes), "{} is stale", binary.display());
    }
}

#[test]
fn the_flights_module_loads_and_computes() {
    let module = host().load(&flights()).expect("load");
    let mut names: Vec<String> = module.functions().iter().map(|f| f.name.clone()).collect();
    names.sort();
    assert_eq!(names, ["delay_class", "great_circle_km", "parse_tail_number"]);
    let distance = module.functions().into_iter().find(|f| f.name == "great_circle_km").expect("there");
    assert_eq!(distance.parameters[3], ("lon2".to_string(), DataType::Float64));
    assert_eq!((distance.returns, distance.sees_null), (DataType::Float64, vec![false; 4]));

    let column = |v: Vec<f64>| -> ArrayRef { Arc::new(Float64Array::from(v)) };
    let caller = module.instantiate("great_circle_km", DEADLINE.into()).expect("instance");
    // JFK to LAX; a place to itself; antipodes.
    let (lat1, lon1) = (column(vec![40.6398, 1.0, 0.0]), column(vec![-73.7789, 1.0, 0.0]));
    let (lat2, lon2) = (column(vec![33.9425, 1.0, 0.0]), column(vec![-118.408, 1.0, 180.0]));
    let km = caller.call(&[lat1, lon1, lat2, lon2], 3).expect("call");
    let km = km.as_primitive::<Float64Type>();
    assert!((km.value(0) - 3974.0).abs() < 5.0 && km.value(1) == 0.0 && (km.value(2) - 20015.0).abs() < 1.0, "{km:?}");

    let minutes: ArrayRef = Arc::new(Float64Array::from(vec![None, Some(-3.0), Some(15.0), Some(600.0)]));
    let class =
        module.instantiate("delay_class", DEADLINE.into()).expect("instance").call(&[minutes], 4).expect("call");
    assert_eq!(class.as_string::<i32>(), &StringArray::from(vec!["cancelled", "on time", "late", "very late"]));

    let parse = module.instantiate("parse_tail_number", DEADLINE.into()).expect("instance");
    let texts: ArrayRef = Arc::new(StringArray::from(vec![Some(" n14228"), None, Some(" "), Some("N5Z")]));
    let tails = parse.call(&[texts], 4).expect("call");
    assert_eq!(tails.as_string::<i32>(), &StringArray::from(vec![Some("N14228"), None, None, Some("N5Z")]));
    let bad: ArrayRef = Arc::new(StringArray::from(vec!["N1", "D-AIMA"]));
    match parse.call(&[bad], 2) {
        Err(Error::Function { sqlstate, message, .. }) => {
            assert_eq!((sqlstate, message.as_str()), ("38000", "tail number \"D-AIMA\" does not start with N"));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn core_modules_with_their_type_are_accepted() {
    let text =
        r#"(module (func (export "add-up") (param i64 i64) (result i64) (i64.add (local.get 0) (local.get 1))))"#;
    let wit = "package t:t; world w { export add-up: func(a: s64, b: s64) -> s64; }";
    let module = host().load(&core_module(text, wit)).expect("load");
    let column: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
    let sum = module.instantiate("add_up", DEADLINE.into()).expect("instance").call(&[column.clone(), column], 2);
    assert_eq!(sum.expect("call").as_ref(), &Int64Array::from(vec![2, 4]) as &dyn Array);
    assert_eq!(module.hash(), host().load(&core_module(text, wit)).expect("load").hash());
}

#[test]
fn core_modules_without_types_or_with_other_imports_are_refused() {
    let plain = wat::parse_str(r#"(module (func (export "f") (result i64) (i64.const 1)))"#).expect("wat");
    assert!(refusal(&plain).contains("component-type"), "{}", refusal(&plain));
    let wit = "package t:t; world w { export f: func() -> s64; }";
    let env = r#"(module (import "env" "clock" (func)) (func (export "f") (result i64) (i64.const 1)))"#;
    assert!(refusal(&core_module(env, wit)).contains("env"), "{}", refusal(&core_module(env, wit)));
    let wasi = r#"(module (import "wasi_snapshot_preview1" "proc_exit" (func (param i32)))
        (func (export "f") (result i64) (i64.const 1)))"#;
    let reason = refusal(&core_module(wasi, wit));
    assert!(reason.contains("WASI is not granted"), "{reason}");
}

#[test]
fn imports_are_refused_by_name() {
    let reason = refusal(&assembled("imports"));
    assert!(reason.contains("\"wasi:clocks/wall-clock@0.2.0\""), "{reason}");
}

#[test]
fn modules_without_a_usable_function_say_why() {
    let reason = refusal(&assembled("types"));
    for part in [
        "sum-list: parameter xs has type list<s32>",
        "of-char: parameter c has type char",
        "pair: parameter x has type tuple",
        "no-result: it returns nothing",
        "bare-result: the error type of its result is not string",
    ] {
        assert!(reason.contains(part), "{part} missing in: {reason}");
    }
    assert!(refusal(&wat::parse_str("(component)").expect("wat")).contains("exports no function"));
}

#[test]
fn what_is_not_webassembly_is_refused() {
    assert!(refusal(b"").contains("empty"));
    assert!(refusal(b"(module)").contains("text"));
    assert!(refusal(b"AGFzbQ0AAQA=").contains("base64"));
    assert!(refusal(b"\0asm").contains("truncated"));
    assert!(refusal(b"\0asm\x09\0\0\0").contains("unknown"));
    let small = WasmHost::new(Limits { upload_bytes_max: 100, ..Limits::default() }).expect("host");
    assert!(matches!(small.load(&[0; 101]), Err(Error::Invalid(reason)) if reason.contains("at most 100")));
    let threads = r#"(module (memory 1 1 shared) (func (export "f") (result i64) (i64.const 1)))"#;
    let reason = refusal(&wat::parse_str(threads).expect("wat"));
    assert!(reason.contains("not a valid WebAssembly module"), "{reason}");
}

/// Damaged uploads load or are refused, and what loads may be called: never a panic, never a hang.
#[test]
fn damaged_modules_never_panic() {
    let seed: u64 = std::env::var("SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(0x5eed);
    println!("SEED={seed}");
    let mut state = seed;
    let mut random = move |below: usize| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) as usize % below
    };
    let host = host();
    let core = core_module(
        r#"(module (memory (export "memory") 1)
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
            (func (export "length") (param i32 i32) (result i64) (i64.extend_i32_u (local.get 1))))"#,
        "package t:t; world w { export length: func(s: string) -> s64; }",
    );
    let originals = [assembled("trap"), assembled("output"), core];
    for original in &originals {
        for length in (0..original.len()).step_by(7) {
            assert!(host.load(&original[..length]).is_err(), "truncated to {length}");
        }
    }
    for round in 0..1000 {
        let mut bytes = originals[round % originals.len()].clone();
        for _ in 0..=random(3) {
            let at = random(bytes.len());
            bytes[at] ^= 1 << random(8);
        }
        if let Ok(module) = host.load(&bytes) {
            exercise(&module);
        }
    }
}

fn exercise(module: &Arc<dyn Module>) {
    for signature in module.functions() {
        let columns: Vec<ArrayRef> =
            signature.parameters.iter().map(|(_, ty)| arrow::array::new_null_array(ty, 3)).collect();
        if let Ok(caller) = module.instantiate(&signature.name, Duration::from_millis(20).into()) {
            let _ = caller.call(&columns, 3);
        }
        let texts: ArrayRef = Arc::new(StringArray::from(vec!["a", "b"]));
        if signature.parameters.iter().all(|(_, ty)| ty == &DataType::Utf8) {
            let columns = vec![texts; signature.parameters.len()];
            if let Ok(caller) = module.instantiate(&signature.name, Duration::from_millis(20).into()) {
                let _ = caller.call(&columns, 2);
            }
        }
    }
}
