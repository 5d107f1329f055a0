#!/usr/bin/env python3
"""Writes every C++ sample of README.md and docs/ into one source, so that the compiler reads what users copy.

    collect_samples.py OUTPUT.cpp

A sample with a main() becomes a function that the program calls; it has to end without an error. Others are compiled
only: one that defines functions or classes stands in a namespace, statements stand in a function whose parameters
are what the text around them speaks of.
"""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
CONTEXT = (
    "Model model, std::shared_ptr<NetImpl> net, AutogradTrainingLoop& loop, AutogradOptimizer& optimizer, "
    "DataLoader& training, DataLoader& test, LossFunction loss, std::vector<Batch> window"
)
PRELUDE = """
#include "gradwise/adapters/nn_module.h"
#include "gradwise/data/loader.h"
#include "gradwise/optim/autograd_optimizer.h"
#include "gradwise/train/loop.h"
#include "gradwise/train/losses.h"
#include <torch/nn/module.h>

struct NetImpl : torch::nn::Module {
  at::Tensor forward(const at::Tensor& a) { return a; }
  at::Tensor forward(const at::Tensor& a, const at::Tensor& b) { return a + b; }
};
"""
INCLUDE = re.compile(r"^#include .*", re.MULTILINE)
DEFINITION = re.compile(r"^(namespace|class|struct)\b|^[\w:<>&*, ]+ \w+\([^;{}]*\) \{$", re.MULTILINE)


def samples():
    pages = [ROOT / "README.md", *sorted((ROOT / "docs/how-to").glob("*.md"))]
    for page in pages:
        text = page.read_text()
        for found in re.finditer(r"^```cpp\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
            yield page.relative_to(ROOT), text.count("\n", 0, found.start()) + 2, found.group(1)


def main():
    includes, bodies, programs = set(INCLUDE.findall(PRELUDE)), [INCLUDE.sub("", PRELUDE)], []
    for number, (page, line, code) in enumerate(samples()):
        includes.update(INCLUDE.findall(code))
        code = INCLUDE.sub("", code)
        where = f'#line {line} "{page}"\n'
        scope = f"namespace sample_{number} {{\nusing namespace gradwise;\n"
        if re.search(r"^int main\(", code, re.MULTILINE):
            programs.append((f"sample_{number}", f"{page}:{line}"))
            code = re.sub(r"^int main\(.*?\) \{", "int run() {", code, flags=re.MULTILINE)
            code = re.sub(r"\}\s*$", "return 0;\n}\n", code)
            bodies.append(f"{scope}{where}{code}}}\n")
        elif DEFINITION.search(code):
            bodies.append(f"{scope}{where}{code}}}\n")
        else:
            bodies.append(f"{scope}[[maybe_unused]] void compiled({CONTEXT}) {{ {{\n{where}{code}}} }}\n}}\n")
    calls = "".join(f'  std::printf("== {place}\\n"); failed += {name}::run() != 0;\n' for name, place in programs)
    source = "\n".join(sorted(includes | {"#include <cstdio>"})) + "\n\n" + "\n".join(bodies)
    source += f"\nint main() {{\n  int failed = 0;\n{calls}  return failed;\n}}\n"
    pathlib.Path(sys.argv[1]).write_text(source)


if __name__ == "__main__":
    main()
