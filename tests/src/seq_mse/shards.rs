//! However the work is divided, over threads, memory, parts of the samples and time, the same comes out.

use super::*;

#[test]
fn thread_counts_do_not_matter() {
    let folder = folders().into_iter().find(|folder| folder.ends_with("conv_net_w4_pc")).unwrap();
    let on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let state = run(&folder, "PerChannel", 4, "SeqMse(), Calibrate(), Gptq()");
            left(&state)
        })
    };
    assert_eq!(on(1), on(3));
}

/// The passes of a run that keeps its levels, and looks at a part of the samples if that is said.
fn kept(folder: &Path, shard: Option<(usize, usize)>) -> String {
    let shard = shard.map_or(String::new(), |(at, of)| format!(", shard: (index: {at}, of: {of})"));
    let checkpoints = format!("checkpoints: (folder: {folder:?}{shard})");
    format!("SeqMse({checkpoints}), Gptq({checkpoints})")
}

#[test]
fn any_partition_of_the_samples_decides_the_same() {
    for name in ["conv_net_w4_pc", "blockwise_linear_w4_b4"] {
        let folder = folders().into_iter().find(|folder| folder.ends_with(name)).unwrap();
        let text = fs::read_to_string(folder.join("result.json")).unwrap();
        let granularity = granularity(name, &serde_json::from_str(&text).unwrap());
        let by = |parts: usize| {
            let dir = tempfile::tempdir().unwrap();
            let part = |at| run(&folder, &granularity, 4, &kept(dir.path(), Some((at, parts))));
            let mut rounds = 0;
            loop {
                rounds += 1;
                assert!(rounds < 40, "{name} never ends");
                // The last one first: no part waits for another.
                let paused: Vec<_> = (1..=parts).rev().map(|at| part(at).paused.unwrap()).collect();
                if paused[parts - 1].decided {
                    break;
                }
            }
            assert!(rounds > 2, "{name}: {rounds}");
            left(&run(&folder, &granularity, 4, &kept(dir.path(), None)))
        };
        let whole = by(1);
        assert!(by(3) == whole && by(4) == whole, "{name}");
    }
}

#[test]
fn a_run_goes_on_behind_what_was_decided() {
    let folder = folders().into_iter().find(|folder| folder.ends_with("conv_net_w4_pc")).unwrap();
    let plain = left(&run(&folder, "PerChannel", 4, "SeqMse(), Gptq()"));
    let dir = tempfile::tempdir().unwrap();
    let files = || {
        let mut files: Vec<PathBuf> =
            fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
    };
    assert_eq!(left(&run(&folder, "PerChannel", 4, &kept(dir.path(), None))), plain);
    let all = files();
    // An interruption at any level: what is behind it is missing.
    for from in 0..all.len() {
        all[from..].iter().for_each(|path| fs::remove_file(path).unwrap());
        let again = run(&folder, "PerChannel", 4, &kept(dir.path(), None));
        assert!(left(&again) == plain && files() == all, "from {}", all[from].display());
    }
    // Other options, and a file that is cut off.
    let other = kept(dir.path(), None).replace("SeqMse(", "SeqMse(candidates: 10, ");
    let refused = run_within(MEMORY, &folder, "PerChannel", 4, &other).unwrap_err();
    assert_eq!(refused.code(), "bad_checkpoint");
    let bytes = fs::read(&all[0]).unwrap();
    fs::write(&all[0], &bytes[..bytes.len() / 2]).unwrap();
    let refused = run_within(MEMORY, &folder, "PerChannel", 4, &kept(dir.path(), None));
    assert_eq!(refused.unwrap_err().code(), "bad_checkpoint");
}

#[test]
fn memory_does_not_matter() {
    let folder = folders().into_iter().find(|folder| folder.ends_with("conv_net_w4_pc")).unwrap();
    let within =
        |memory| left(&run_within(memory, &folder, "PerChannel", 4, "SeqMse(), Gptq()").unwrap());
    // Nothing may be kept, and matrices are gathered one by one.
    assert!(within(0) == within(MEMORY));
}

/// Rows that losses are taken of directly are the same from memory and from files, on any number of
/// threads, for convolutions and blocks, and where a sample has more rows than are kept at once.
#[test]
fn memory_does_not_matter_to_rows() {
    let conv = folders().into_iter().find(|folder| folder.ends_with("conv_net_w4_pc")).unwrap();
    let blocks =
        folders().into_iter().find(|folder| folder.ends_with("blockwise_linear_w4_b4")).unwrap();
    let on = |threads: usize, memory, folder: &Path, granularity, passes: &str| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let state = pool.install(|| run_within(memory, folder, granularity, 4, passes).unwrap());
        (left(&state), state.curves)
    };
    for passes in ["SeqMse(loss: L1)", "SeqMse(loss: Sqnr)", "SeqMse()"] {
        for (folder, granularity) in [(&conv, "PerChannel"), (&blocks, "PerBlock(4)")] {
            let whole = on(3, MEMORY, folder, granularity, passes);
            for (threads, memory) in [(1, MEMORY), (1, 0), (3, 0), (3, 40_000)] {
                let found = on(threads, memory, folder, granularity, passes);
                // With no room for the matrix of whole rows, blocks are judged alone.
                if (granularity, passes, memory) == ("PerBlock(4)", "SeqMse()", 0) {
                    continue;
                }
                assert!(found == whole, "{passes}, {granularity}, {memory} bytes, {threads}");
            }
        }
    }
    let (model, sample) = (product(&rows(24, 5, 1)), rows(2500, 24, 9));
    for passes in ["SeqMse(loss: L1)", "SeqMse(loss: Sqnr)"] {
        let of = |memory| {
            let samples = std::slice::from_ref(&sample);
            let state = of_model_within(memory, model.clone(), samples, "PerBlock(8)", passes);
            (left(&state), state.curves)
        };
        let whole = of(MEMORY);
        assert!(of(0) == whole && of(100_000) == whole, "{passes}");
    }
}

/// What was decided on some samples is not taken for what others would decide.
#[test]
fn checkpoints_of_other_samples_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let passes = format!("Gptq(checkpoints: (folder: {:?}))", folder.path().join("levels"));
    let run = |sample: Tensor, before: &str| {
        let samples = vec![vec![sample]];
        let pipeline = format!(
            "Pipeline(target: \"ort-cpu\", passes: [
                Group(), Place(weights: (dtype: Int4, granularity: PerChannel)), {before} {passes}
            ])"
        );
        let engine = Embedded::new(&Options::default());
        let cx = Context::new(&engine, &samples, &Shipped, &|_| {});
        Pipeline::parse(&pipeline).unwrap().run(product(&rows(40, 6, 5)), &cx)
    };
    run(rows(64, 40, 1), "").unwrap();
    run(rows(64, 40, 1), "").unwrap();
    let others = run(rows(64, 40, 2), "").unwrap_err();
    assert!(others.to_string().contains("other"), "{others}");
    let earlier = run(rows(64, 40, 1), "SeqMse(candidates: 3),").unwrap_err();
    assert!(earlier.to_string().contains("other"), "{earlier}");
}
