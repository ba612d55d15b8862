//! What the compiler made of the kernels: the machine code of this very test program, read with objdump.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

/// A function as objdump shows it.
#[derive(Default)]
struct Function {
    name: String,
    /// Address and text of each instruction.
    code: Vec<(u64, String)>,
}

impl Function {
    /// Of a type of this crate's that stands for an instruction set beyond the portable one.
    fn is_vector_code(&self) -> bool {
        ["avx2", "avx512", "Avx2", "Avx512"]
            .iter()
            .any(|set| self.name.contains(set))
    }

    /// The fused multiply-adds of the compiler's run-time library, which it calls on machines that have them.
    fn is_library(&self) -> bool {
        self.name.contains("compiler_builtins")
    }

    /// The innermost loops: from the target of a backward jump to the jump.
    fn loops(&self) -> Vec<&[(u64, String)]> {
        let place = |address| self.code.binary_search_by_key(&address, |line| line.0).ok();
        let ends = self.code.iter().enumerate().filter_map(|(end, (_, text))| {
            let start = place(jump_target(text)?)?;
            (start <= end).then_some(start..end)
        });
        let all: Vec<_> = ends.collect();
        let inner = all.iter().filter(|outer| {
            !all.iter()
                .any(|l| l != *outer && outer.start <= l.start && l.end <= outer.end)
        });
        inner.map(|range| &self.code[range.clone()]).collect()
    }
}

/// Where a jump within a function leads: "jne    4a3f10 <name+0x20>".
fn jump_target(text: &str) -> Option<u64> {
    let mut parts = text.split_whitespace();
    let jump = parts.next()?.starts_with('j');
    let target = parts.next().filter(|_| jump)?;
    u64::from_str_radix(target.trim_start_matches("0x"), 16).ok()
}

fn is_fused(text: &str) -> bool {
    let name = text.split_whitespace().next().unwrap_or("");
    ["vfmadd", "vfmsub", "vfnmadd", "vfnmsub"]
        .iter()
        .any(|fused| name.starts_with(fused))
}

fn is_fused_on_zmm(text: &str, suffix: &str) -> bool {
    is_fused(text)
        && text.contains("%zmm")
        && text
            .split_whitespace()
            .next()
            .is_some_and(|name| name.ends_with(suffix))
}

/// Says why the machine code was not looked at, where the harness that runs the tests does not hold it back.
fn skip(reason: &str) {
    let said = writeln!(
        std::io::stderr(),
        "the machine code is not looked at: {reason}"
    );
    said.expect("standard error");
}

/// Hands every function of this program to `see`; false where there is no objdump.
fn each_function(mut see: impl FnMut(&Function)) -> bool {
    let program = std::env::current_exe().expect("this program's path");
    let child = Command::new("objdump")
        .args(["--disassemble", "--no-show-raw-insn", "--wide"])
        .arg(program)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(error) => {
            skip(&format!(
                "objdump, a part of binutils, cannot be run: {error}"
            ));
            return false;
        }
    };
    let mut function = Function::default();
    let output = BufReader::new(child.stdout.take().expect("objdump's output"));
    for line in output.split(b'\n') {
        let line = line.expect("objdump's output");
        let line = String::from_utf8_lossy(&line);
        if let Some(name) = line.strip_suffix(">:") {
            see(&function);
            function.name = name.split_once('<').map_or("", |parts| parts.1).to_string();
            function.code.clear();
        } else if let Some((address, text)) = line.split_once(":\t")
            && let Ok(address) = u64::from_str_radix(address.trim(), 16)
        {
            function.code.push((address, text.to_string()));
        }
    }
    see(&function);
    assert!(child.wait().expect("objdump").success(), "objdump failed");
    true
}

/// Rows and vectors of the largest AVX-512 tile.
const LARGEST: usize = 14 * 2;

#[test]
fn machine_code_is_what_the_instruction_sets_say() {
    if cfg!(not(target_arch = "x86_64")) {
        return skip("the instructions looked for are those of x86-64");
    }
    let (mut functions, mut portable) = (0, 0);
    let mut stray = Vec::new();
    let mut outside = Vec::new();
    let mut loops = [0; 2];
    let found = each_function(|function| {
        functions += 1;
        portable += usize::from(function.name.contains("portable") && !function.is_vector_code());
        for (_, text) in &function.code {
            if is_fused(text) && !function.is_vector_code() && !function.is_library() {
                stray.push(format!("{}: {text}", function.name));
            }
            // An intrinsic that is called was not compiled for the instruction set of its caller.
            let called = text.starts_with("call") && text.contains("core_arch");
            if called && text.contains("_mm") && !function.name.contains("tests") {
                outside.push(format!("{}: {text}", function.name));
            }
        }
        if !function.is_vector_code()
            || !function.code.iter().any(|(_, text)| text.contains("%zmm"))
        {
            return;
        }
        for code in function.loops() {
            for (kind, suffix) in ["ps", "pd"].iter().enumerate() {
                let fused = code
                    .iter()
                    .filter(|(_, text)| is_fused_on_zmm(text, suffix));
                if fused.count() == LARGEST {
                    loops[kind] += 1;
                }
            }
        }
    });
    if !found {
        return;
    }
    println!(
        "{functions} functions, {portable} of the portable form; loops of {LARGEST} fused multiply-adds on zmm: \
         {loops:?} (float32, float64)"
    );
    assert!(functions > 1000 && portable > 0, "objdump shows no symbols");
    assert!(
        stray.is_empty(),
        "fused multiply-adds outside the code for AVX2 and AVX-512:\n{}",
        stray.join("\n")
    );
    assert!(
        outside.is_empty(),
        "vector instructions that are calls:\n{}",
        outside.join("\n")
    );
    // One for each of the epilogues.
    assert!(
        loops[0] >= 4 && loops[1] >= 4,
        "loops of the largest tile on zmm registers: {loops:?}"
    );
}

#[test]
fn loops_and_jumps_are_read() {
    assert_eq!(jump_target("jne    4a3f10 <name+0x20>"), Some(0x4a3f10));
    assert_eq!(jump_target("call   4a3f10 <name+0x20>"), None);
    assert_eq!(jump_target("jmp    *%rax"), None);
    assert!(is_fused_on_zmm(
        "vfmadd231ps (%rax){1to16},%zmm1,%zmm2",
        "ps"
    ));
    assert!(!is_fused_on_zmm("vfmadd231ps %ymm0,%ymm1,%ymm2", "ps"));
    let line = |at, text: &str| (at, text.to_string());
    let function = Function {
        name: "f".into(),
        code: vec![
            line(1, "nop"),
            line(2, "nop"),
            line(3, "inc    %eax"),
            line(4, "jne    3 <f+0x2>"),
            line(5, "jmp    2 <f+0x1>"),
            line(6, "je     8 <f+0x7>"),
            line(8, "ret"),
        ],
    };
    let loops = function.loops();
    assert_eq!(loops.len(), 1);
    assert_eq!((loops[0][0].0, loops[0].len()), (3, 1));
}
