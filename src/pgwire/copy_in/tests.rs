//! The same input gives the same rows however it is cut into messages; bad input gives Postgres' errors.

use super::*;
use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use std::sync::Arc;

fn schema() -> SchemaRef {
    let fields = vec![Field::new("a", DataType::Int64, true), Field::new("b", DataType::Utf8, true)];
    Arc::new(Schema::new(fields))
}

fn options(format: CopyFormat) -> CopyOptions {
    let csv = format == CopyFormat::Csv;
    CopyOptions {
        format,
        header: false,
        delimiter: if csv { b',' } else { b'\t' },
        null: if csv { String::new() } else { "\\N".into() },
        quote: b'"',
        escape: b'"',
    }
}

type Row = (Option<i64>, Option<String>);

fn decode(input: &[&[u8]], options: &CopyOptions) -> Result<Vec<Row>> {
    let mut decoder = CopyDecoder::new(schema(), options.clone());
    let mut batches = Vec::new();
    for piece in input {
        decoder.push(piece);
        while let Some(batch) = decoder.next_batch()? {
            batches.push(batch);
        }
    }
    while let Some(batch) = decoder.last_batch()? {
        batches.push(batch);
    }
    let mut rows = Vec::new();
    for batch in batches {
        let (a, b) = (batch.column(0).as_primitive::<Int64Type>(), batch.column(1).as_string::<i32>());
        for row in 0..batch.num_rows() {
            let text = b.is_valid(row).then(|| b.value(row).to_owned());
            rows.push((a.is_valid(row).then(|| a.value(row)), text));
        }
    }
    Ok(rows)
}

fn row(a: i64, b: &str) -> Row {
    (Some(a), Some(b.to_owned()))
}

#[test]
fn csv_gives_the_same_rows_however_it_is_cut() {
    let input = b"1,plain\r\n2,\"with \"\"quotes\"\", commas\nand lines\"\n3,\n4,\"\"\n,x\"y,\"z\n5,last";
    let expected = vec![
        row(1, "plain"),
        row(2, "with \"quotes\", commas\nand lines"),
        (Some(3), None),
        row(4, ""),
        (None, Some("xy,z".into())),
        row(5, "last"),
    ];
    let options = options(CopyFormat::Csv);
    for cut in 0..=input.len() {
        let (left, right) = input.split_at(cut);
        assert_eq!(decode(&[left, right], &options).as_ref(), Ok(&expected), "cut at {cut}");
    }
    let bytes: Vec<&[u8]> = input.chunks(1).collect();
    assert_eq!(decode(&bytes, &options), Ok(expected));
}

#[test]
fn csv_with_its_own_escape() {
    let mut options = options(CopyFormat::Csv);
    options.escape = b'\\';
    options.header = true;
    let input = b"a,b\n1,\"say \\\"hi\\\"\n\\\\\"\n2,\"a\\b\"\n";
    let expected = vec![row(1, "say \"hi\"\n\\"), row(2, "a\\b")];
    for cut in 0..=input.len() {
        let (left, right) = input.split_at(cut);
        assert_eq!(decode(&[left, right], &options).as_ref(), Ok(&expected), "cut at {cut}");
    }
}

#[test]
fn text_escapes_as_in_postgres() {
    let input = b"1\tplain\n2\ta\\tb\\nc\\\\\n\\N\t\\N\n3\t\\x41\\101\\q\\\n4\n4\tx\\\\\n\\.\nignored";
    let expected = vec![row(1, "plain"), row(2, "a\tb\nc\\"), (None, None), row(3, "AAq\n4"), row(4, "x\\")];
    let options = options(CopyFormat::Text);
    for cut in 0..=input.len() {
        let (left, right) = input.split_at(cut);
        assert_eq!(decode(&[left, right], &options).as_ref(), Ok(&expected), "cut at {cut}");
    }
}

fn binary_input() -> Vec<u8> {
    let mut input = BINARY_SIGNATURE.to_vec();
    input.extend_from_slice(&[0; 8]);
    input.extend_from_slice(b"\0\x02\0\0\0\x08\0\0\0\0\0\0\0\x07\0\0\0\x02hi");
    input.extend_from_slice(b"\0\x02\xff\xff\xff\xff\xff\xff\xff\xff");
    input.extend_from_slice(b"\xff\xff");
    input
}

#[test]
fn binary_gives_the_same_rows_however_it_is_cut() {
    let input = binary_input();
    let options = options(CopyFormat::Binary);
    for cut in 0..=input.len() {
        let (left, right) = input.split_at(cut);
        assert_eq!(decode(&[left, right], &options), Ok(vec![row(7, "hi"), (None, None)]), "cut at {cut}");
    }
    for cut in (1..input.len() - 2).filter(|cut| ![19, 39].contains(cut)) {
        assert!(decode(&[&input[..cut]], &options).is_err(), "ends at {cut}");
    }
}

#[test]
fn errors_name_line_and_column() {
    let error = |format, input: &[u8]| {
        let error = decode(&[input], &options(format)).expect_err("an error");
        (error.sqlstate, error.message, error.context.unwrap_or_default())
    };
    let expect = |state, message: &str, context: &str| (state, message.to_owned(), context.to_owned());
    assert_eq!(
        error(CopyFormat::Csv, b"1,x\nten,y\n"),
        expect("22P02", "invalid input syntax for type bigint: \"ten\"", "COPY, line 2, column a: \"ten\"")
    );
    assert_eq!(
        error(CopyFormat::Text, b"1\n"),
        expect("22P04", "missing data for column \"b\"", "COPY, line 1: \"1\"")
    );
    assert_eq!(
        error(CopyFormat::Text, b"1\tx\ty\n"),
        expect("22P04", "extra data after last expected column", "COPY, line 1")
    );
    assert_eq!(error(CopyFormat::Csv, b"1,\"x\n"), expect("22P04", "unterminated CSV quoted field", "COPY, line 1"));
    assert_eq!(error(CopyFormat::Text, b"1\t\xff\n").0, "22021");
    assert_eq!(error(CopyFormat::Binary, b"not a copy file").0, "22P04");
    let strict = Arc::new(Schema::new(vec![Field::new("a", DataType::Int64, false)]));
    let mut decoder = CopyDecoder::new(strict, options(CopyFormat::Text));
    decoder.push(b"\\N\n");
    assert_eq!(decoder.next_batch().map(|_| ()).map_err(|e| e.sqlstate), Err("23502"));
}

#[test]
fn batches_are_bounded() {
    let mut decoder = CopyDecoder::new(schema(), options(CopyFormat::Csv));
    let mut rows = 0;
    decoder.push("1,x\n".repeat(3 * BATCH_ROWS_MAX + 5).as_bytes());
    while let Some(batch) = decoder.next_batch().expect("a batch") {
        assert_eq!(batch.num_rows(), BATCH_ROWS_MAX);
        rows += batch.num_rows();
    }
    while let Some(batch) = decoder.last_batch().expect("a batch") {
        rows += batch.num_rows();
    }
    assert_eq!(rows, 3 * BATCH_ROWS_MAX + 5);
}

#[test]
fn random_bytes_never_panic_and_never_depend_on_cuts() {
    let mut seed = 99u64;
    let mut next = move || {
        seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (seed >> 33) as usize
    };
    for round in 0..6000 {
        let alphabet: &[u8] = if round % 3 == 0 { b"1,\"\n\r\\\tN.x\0\xff" } else { b"12,\"\n\\\t" };
        let mut input: Vec<u8> = (0..next() % 40).map(|_| alphabet[next() % alphabet.len()]).collect();
        if round % 5 == 0 {
            let mut binary = binary_input();
            let at = next() % binary.len();
            binary[at] = next() as u8;
            input = binary;
        }
        for format in [CopyFormat::Text, CopyFormat::Csv, CopyFormat::Binary] {
            let options = options(format);
            let whole = decode(&[&input], &options);
            let cut = next() % (input.len() + 1);
            let parts = decode(&[&input[..cut], &input[cut..]], &options);
            match (&whole, &parts) {
                (Ok(_), _) => assert_eq!(whole, parts, "{input:?} cut at {cut}"),
                (Err(_), _) => assert!(parts.is_err(), "{input:?} cut at {cut}: {whole:?}"),
            }
        }
    }
}
