//! Damage: bytes that changed and files that are gone are reported by name, or do no harm.

use super::*;

#[test]
fn a_flipped_bit_is_reported_or_harmless() {
    let env = SimEnv::new(3);
    let log = start(&env);
    for tx in 0..30 {
        log.commit(vec![append(S1, P0, rows(tx, &[tx], 200)), Record::Catalog(vec![tx as u8; 9])]).unwrap();
    }
    let before = read_all(&log);
    drop(log);
    let mut random = Random(3);
    let mut reported = 0;
    assert!(wal_files(&env).len() > 2);
    for path in wal_files(&env) {
        let bytes = env.open(&path).unwrap().len().unwrap();
        for byte in (0..bytes).step_by(3) {
            let bit = random.below(8) as u8;
            env.flip_bit(&path, byte, bit);
            match open_sim(&env, options()) {
                Ok((log, catalog)) => {
                    assert_eq!(read_all(&log), before, "{} byte {byte} bit {bit}", path.display());
                    assert_eq!(catalog.len(), 30);
                }
                Err(Error::Corrupt { file, byte: at, .. }) => {
                    assert!(at <= byte || file != path, "{at} is behind the damage at {byte}");
                    reported += 1;
                }
                Err(e) => panic!("{e}"),
            }
            env.flip_bit(&path, byte, bit);
        }
    }
    assert!(reported > 1000, "{reported}");
}

#[test]
fn a_missing_or_shortened_file_is_corruption() {
    let build = || {
        let env = SimEnv::new(4);
        let log = start(&env);
        for tx in 0..60 {
            log.commit(vec![append(S1, P0, rows(tx, &[tx], 200))]).unwrap();
        }
        drop(log);
        env
    };
    for missing in 0..wal_files(&build()).len() - 1 {
        let env = build();
        env.remove_file(&wal_files(&env)[missing]).unwrap();
        assert!(matches!(open_sim(&env, options()), Err(Error::Corrupt { .. })), "file {missing}");
    }
    let env = build();
    env.open(wal_files(&env).last().unwrap()).unwrap().set_len(100).unwrap();
    assert!(matches!(open_sim(&env, options()), Err(Error::Corrupt { .. })));
    let env = build();
    let log = open_sim(&env, options()).unwrap().0;
    log.seal_all().unwrap();
    drop(log);
    wal_files(&env).iter().for_each(|path| env.remove_file(path).unwrap());
    assert!(matches!(open_sim(&env, options()), Err(Error::Corrupt { .. })), "epochs would start again");
}

#[test]
fn a_damaged_segment_or_manifest_is_corruption() {
    let env = SimEnv::new(5);
    let log = start(&env);
    log.commit(vec![append(S1, P0, rows(0, &[1, 2, 3], 50))]).unwrap();
    log.shutdown().unwrap();
    drop(log);
    let stream = dir().join("streams/1");
    let manifest = stream.join("manifest-1.json");
    env.flip_bit(&manifest, 100, 2);
    assert!(matches!(open_sim(&env, options()), Err(Error::Corrupt { file, .. }) if file == manifest));
    env.flip_bit(&manifest, 100, 2);
    let segment = stream.join(segment::segment_name(P0, Offset(0)));
    let file = env.open(&segment).unwrap();
    let bytes = file.len().unwrap();
    env.flip_bit(&segment, bytes - 1, 0);
    let log = open_sim(&env, options()).unwrap().0;
    assert!(matches!(opened(&log, Offset(0)..Offset(3)), Err(Error::Corrupt { .. })));
    drop(log);
    file.set_len(bytes - 1).unwrap();
    assert!(matches!(open_sim(&env, options()), Err(Error::Corrupt { file, .. }) if file == segment));
}

/// Header, pages, statistics, footer: wherever a bit of a segment flips, no row of it is shown.
#[test]
fn a_flipped_bit_anywhere_in_a_segment_is_reported_before_its_first_use() {
    let env = SimEnv::new(13);
    let log = start(&env);
    for tx in 0..50 {
        log.commit(vec![append(S1, P0, rows(tx, &[tx * 7, tx * 11], 30))]).unwrap();
    }
    log.shutdown().unwrap();
    drop(log);
    let segment = dir().join("streams/1").join(segment::segment_name(P0, Offset(0)));
    let bytes = env.open(&segment).unwrap().len().unwrap();
    let mut random = Random(13);
    for byte in (0..bytes).step_by(7).chain([bytes - 1]) {
        let bit = random.below(8) as u8;
        env.flip_bit(&segment, byte, bit);
        let log = open_sim(&env, options()).unwrap().0;
        for offsets in [Offset(0)..Offset(100), Offset(99)..Offset(100), Offset(0)..Offset(1)] {
            let read = opened(&log, offsets);
            assert!(matches!(&read, Err(Error::Corrupt { file, .. }) if *file == segment), "byte {byte}: {read:?}");
        }
        env.flip_bit(&segment, byte, bit);
        assert_eq!(opened(&log, Offset(0)..Offset(100)).unwrap(), 1, "nothing is held against a whole file");
    }
    let log = open_sim(&env, options()).unwrap().0;
    assert_eq!(opened(&log, Offset(0)..Offset(100)).unwrap(), 1);
    env.flip_bit(&segment, 40, 1);
    assert_eq!(opened(&log, Offset(0)..Offset(100)).unwrap(), 1, "it is read whole once only");
}

/// Who needs none of a segment's rows neither reads it nor learns that it is damaged.
#[test]
fn a_damaged_segment_is_in_the_way_of_its_own_rows_only() {
    let env = SimEnv::new(14);
    let log = start(&env);
    for segment in 0..3 {
        log.commit(vec![append(S1, P0, rows(segment, &[segment, segment], 30))]).unwrap();
        log.seal_all().unwrap();
    }
    log.shutdown().unwrap();
    drop(log);
    let damaged = dir().join("streams/1").join(segment::segment_name(P0, Offset(2)));
    env.flip_bit(&damaged, 40, 1);
    let log = open_sim(&env, options()).unwrap().0;
    assert_eq!(log.pieces(S1, P0, Offset(0)..Offset(6)).unwrap().len(), 3, "nothing is read before it is opened");
    for offsets in [Offset(0)..Offset(2), Offset(4)..Offset(6)] {
        assert_eq!(ids(&read_rows(&log, S1, P0, offsets)).len(), 2);
    }
    for offsets in [Offset(0)..Offset(3), Offset(3)..Offset(4), Offset(3)..Offset(6)] {
        let read = opened(&log, offsets);
        assert!(matches!(&read, Err(Error::Corrupt { file, .. }) if *file == damaged), "{read:?}");
    }
}

/// Opens the pieces that hold `offsets` and reads no row of them: the number of pieces.
fn opened(log: &Log, offsets: Range<Offset>) -> Result<usize> {
    let pieces = log.pieces(S1, P0, offsets)?;
    pieces.iter().try_for_each(|piece| log.read_piece(piece, 7).map(drop))?;
    Ok(pieces.len())
}
