// The edge of stability (Cohen et al. 2021): under full-batch gradient descent the largest eigenvalue of the Hessian
// rises until it reaches 2 / rate, and stays there while the loss goes on falling, no longer at every step.
//
// Two rates on 1,000 images of Fashion-MNIST: each training ends at its own edge, and the one with the smaller rate
// passes the other's on its way.
//
//   edge_of_stability FOLDER     writes FOLDER/edge_of_stability.png; 20 seconds on one core
#include <ATen/core/grad_mode.h>
#include <ATen/ops/one_hot.h>

#include <string>
#include <vector>

#include "examples/cpp/network.h"
#include "examples/cpp/picture.h"
#include "examples/cpp/proof.h"
#include "gradwise/autograd/transforms/closures.h"
#include "gradwise/core/random_state.h"
#include "gradwise/curvature/hessian.h"
#include "gradwise/curvature/lanczos.h"
#include "gradwise/data/idx.h"
#include "gradwise/plot/script_text.h"

using namespace gradwise;

namespace {

constexpr const char* kFolder = "/usr/share/datasets/fashion-mnist/";  // Debian's package dataset-fashion-mnist
constexpr int kSteps = 3000;
constexpr int kEvery = 50;  // steps between readings

Batch images() {
  const std::string folder = kFolder;
  const Dataset all = read_idx_dataset(folder + "train-images-idx3-ubyte.gz", folder + "train-labels-idx1-ubyte.gz");
  const at::Tensor input = all.inputs.narrow(0, 0, 1000).flatten(1).to(at::kFloat).div(255).sub(0.286).div(0.353);
  return {input, at::one_hot(all.targets.narrow(0, 0, 1000).to(at::kLong), 10).to(at::kFloat), {}};
}

// Half the squared error of a sample, as in the paper.
at::Tensor squared_error(const at::Tensor& output, const at::Tensor& target) {
  return output.sub(target).pow(2).sum(1).mean().mul(0.5);
}

struct Reading {
  double step;
  double sharpness;
  double loss;
};

std::vector<Reading> descend(const Batch& data, double rate) {
  seed_everything(0);
  const Model model = dense_network({784, 32, 32, 10}, [](const at::Tensor& x) { return x.tanh(); });
  const auto loss = [&] { return squared_error(model.forward(data), data.target); };
  std::vector<Reading> readings;
  for (int step = 0; step <= kSteps; ++step) {
    const ValueAndGrad found = value_and_grad(loss, model.parameters);
    if (step % kEvery == 0) {
      const Hessian hessian(model, squared_error, data.input, data.target);
      readings.push_back({static_cast<double>(step),
                          lanczos(hessian, 1, {.steps = 20, .tolerance = 1e-2}).values.front(),
                          found.value.item<double>()});
    }
    const at::NoGradGuard no_grad;
    for (std::size_t i = 0; i < found.gradients.size(); ++i) {
      model.parameters.tensors[i].sub_(found.gradients[i], rate);
    }
  }
  return readings;
}

void check_run(Proof& proof, const std::vector<Reading>& readings, double rate) {
  std::printf("  rate %g: the edge is %g\n", rate, 2 / rate);
  const std::size_t start = 2;  // after the first steps down from the initial weights
  const std::size_t late = readings.size() - readings.size() / 6;
  double mean = 0;
  for (std::size_t i = late; i < readings.size(); ++i) {
    mean += readings[i].sharpness / static_cast<double>(readings.size() - late);
  }
  proof.below("sharpness at step 100", readings[start].sharpness, 0.8 * 2 / rate);
  proof.equal("mean sharpness of the last 500 steps", mean, 2 / rate, 0.12 * 2 / rate);
  proof.below("loss at the end, beside that at step 100", readings.back().loss, 0.5 * readings[start].loss);
}

std::vector<std::vector<double>> rows_of(const std::vector<Reading>& readings) {
  std::vector<std::vector<double>> rows;
  for (const Reading& reading : readings) {
    rows.push_back({reading.step, reading.sharpness, reading.loss});
  }
  return rows;
}

std::string edge(double rate, const char* colour) {
  return gnuplot_number(2 / rate) + " with lines dt 2 lc rgb '" + colour + "' title '2 / " + gnuplot_number(rate) + "'";
}

}  // namespace

int main(int count, char** arguments) {
  Proof proof("The edge of stability");
  constexpr double kRate = 0.05;
  constexpr double kSmaller = 0.025;
  const Batch data = images();
  const std::vector<Reading> run = descend(data, kRate);
  const std::vector<Reading> slower = descend(data, kSmaller);
  check_run(proof, run, kRate);
  check_run(proof, slower, kSmaller);

  const std::vector<std::vector<double>> rows = rows_of(run);
  const std::vector<std::vector<double>> slower_rows = rows_of(slower);
  const std::string blocks = data_block("run", rows) + data_block("slower", slower_rows) + "set xlabel 'step'\n";
  const Panel sharpness{"largest eigenvalue of the Hessian",
                        blocks + "set yrange [0:*]\nplot " + edge(kRate, colour::kBlue) + ", " +
                            edge(kSmaller, colour::kVermilion) + ", " +
                            plotted_line("run", rows, 2, colour::kBlue, "rate 0.05") + ", " +
                            plotted_line("slower", slower_rows, 2, colour::kVermilion, "rate 0.025")};
  const Panel loss{"loss", blocks + "set logscale y\nplot " + plotted_line("run", rows, 3, colour::kBlue, "rate 0.05") +
                               ", " + plotted_line("slower", slower_rows, 3, colour::kVermilion, "rate 0.025")};
  draw_picture(proof, {sharpness, loss}, "Gradient descent at the edge of stability",
               folder_of(count, arguments) / "edge_of_stability.png");
  return proof.exit_code();
}
