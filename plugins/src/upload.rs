//! Turns uploaded bytes into a component: takes a component as it is, and makes one of a core module that carries its
//! `component-type` section (what wit-bindgen leaves in every guest), so that users need no further tool.
//!
//! Refuses everything else with the reason. Nothing here runs guest code.

use crate::signature::features;
use millpond_engine::{Error, Result};
use std::panic::{AssertUnwindSafe, catch_unwind};
use wasmparser::{Parser, Payload, Validator};

const MAGIC: &[u8] = b"\0asm";
const CORE_VERSION: &[u8] = &[1, 0, 0, 0];
const COMPONENT_LAYER: &[u8] = &[1, 0];

/// The component in `bytes`, not validated yet.
///
/// # Errors
/// `Invalid` when the bytes are neither a component nor a core module with its component type.
pub(crate) fn component(bytes: &[u8]) -> Result<Vec<u8>> {
    match (bytes.get(..4), bytes.get(4..8)) {
        (Some(MAGIC), Some(CORE_VERSION)) => encode(bytes),
        (Some(MAGIC), Some([_, _, layer @ ..])) if layer == COMPONENT_LAYER => Ok(bytes.to_vec()),
        (Some(MAGIC), _) => Err(Error::Invalid("module is truncated or of an unknown WebAssembly version".into())),
        _ => Err(Error::Invalid(format!(
            "module is not WebAssembly: it must start with the bytes 00 61 73 6d{}",
            looks_like(bytes)
        ))),
    }
}

fn looks_like(bytes: &[u8]) -> &'static str {
    match bytes {
        [] => " (it is empty)",
        [b'(', ..] => " (this looks like WebAssembly text: assemble it first)",
        [b'A', b'G', b'F', b'z', ..] => " (this looks like base64: it was encoded twice)",
        _ => "",
    }
}

/// Encodes a core module as a component.
fn encode(module: &[u8]) -> Result<Vec<u8>> {
    Validator::new_with_features(features())
        .validate_all(module)
        .map_err(|e| Error::Invalid(format!("not a valid WebAssembly module: {e}")))?;
    if !has_component_type(module) {
        return Err(Error::Invalid(
            "core module has no component-type section, so its functions have no SQL types; \
             build it with wit-bindgen, or add the types with `wasm-tools component embed`"
                .into(),
        ));
    }
    // The section was written by the uploader and its reader is not ours: a panic there must not end the caller.
    let encoded = catch_unwind(AssertUnwindSafe(|| {
        wit_component::ComponentEncoder::default().validate(false).module(module)?.encode()
    }));
    match encoded {
        Ok(Ok(component)) => Ok(component),
        Ok(Err(e)) => {
            Err(Error::Invalid(format!("core module does not make a component: {}", explained(format!("{e:#}")))))
        }
        Err(_) => Err(Error::Invalid("core module has a damaged component-type section".into())),
    }
}

fn has_component_type(module: &[u8]) -> bool {
    Parser::new(0)
        .parse_all(module)
        .any(|payload| matches!(payload, Ok(Payload::CustomSection(s)) if s.name().starts_with("component-type")))
}

/// Explains the commonest mistake.
fn explained(text: String) -> String {
    if text.contains("wasi") {
        return format!("{text} (WASI is not granted: for Rust build for wasm32-unknown-unknown)");
    }
    text
}
