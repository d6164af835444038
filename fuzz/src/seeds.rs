//! `cargo run --bin seeds -- DIR` writes the inputs that the fuzzers begin with into folders by the
//! targets' names; templates begin with those of `fixtures/templates`.

use std::path::Path;

fn main() -> std::io::Result<()> {
    let Some(folder) = std::env::args_os().nth(1) else {
        eprintln!("usage: seeds DIR");
        std::process::exit(2);
    };
    let folder = Path::new(&folder);
    let write = |target: &str, name: &str, bytes: &[u8]| {
        let folder = folder.join(target);
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join(name), bytes)
    };
    write("gguf", "model", &dormouse_fuzz::model())?;
    write("gguf", "spm", &dormouse_fuzz::spm().build())?;
    write("gguf", "bpe", &dormouse_fuzz::bpe("smollm").build())?;
    for (at, text) in [
        "hello hello 12345",
        " a  ab\taba\r\n\n",
        "<|im_start|>user<|im_end|><tool><|user|>",
        "I'll they're \u{c9}cole na\u{ef}ve \u{51ac}\u{7720} \u{1F42D}\u{200d}\u{fe0f}",
        "\u{0}\u{7f}\u{e0001}",
    ]
    .into_iter()
    .enumerate()
    {
        for kind in 0..7 {
            let bytes = [&[kind], text.as_bytes()].concat();
            write("tokenizer", &format!("text-{at}-{kind}"), &bytes)?;
        }
    }
    Ok(())
}
