#include "benchmarks/optimizer/shapes.h"

namespace gradwise::bench {
namespace {

Shapes gpt2() {
  constexpr std::int64_t kWidth = 768;
  Shapes shapes{{50257, kWidth}, {1024, kWidth}};
  for (int block = 0; block < 12; ++block) {
    shapes.insert(shapes.end(), {{kWidth},
                                 {kWidth},
                                 {kWidth, 3 * kWidth},
                                 {3 * kWidth},
                                 {kWidth, kWidth},
                                 {kWidth},
                                 {kWidth},
                                 {kWidth},
                                 {kWidth, 4 * kWidth},
                                 {4 * kWidth},
                                 {4 * kWidth, kWidth},
                                 {kWidth}});
  }
  shapes.insert(shapes.end(), {{kWidth}, {kWidth}});
  return shapes;
}

Shapes cnn() {
  Shapes shapes;
  for (int layer = 0; layer < 50; ++layer) {
    shapes.insert(shapes.end(), {{64, 62, 3, 3}, {64}, {64}});
  }
  return shapes;
}

}  // namespace

Shapes shapes_of(const std::string& name) {
  if (name == "gpt2") {
    return gpt2();
  }
  if (name == "cnn") {
    return cnn();
  }
  if (name == "small") {
    return Shapes(1000, {1000});
  }
  if (const std::size_t times = name.find('x'); times != std::string::npos) {
    return Shapes(std::stoull(name), {std::stoll(name.substr(times + 1))});
  }
  return {{std::stoll(name)}};
}

}  // namespace gradwise::bench
