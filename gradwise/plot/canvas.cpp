#include "gradwise/plot/canvas.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <sstream>
#include <utility>

#include "gradwise/core/atomic_file.h"
#include "gradwise/core/error.h"
#include "gradwise/plot/script_text.h"

namespace gradwise {
namespace {

namespace fs = std::filesystem;

constexpr int kWidth = 1200;
constexpr int kPanelHeight = 300;
constexpr int kTitleHeight = 40;

int pixels_high(const std::vector<Panel>& panels) {
  double height = kTitleHeight;
  for (const Panel& panel : panels) {
    height += kPanelHeight * panel.height;
  }
  return static_cast<int>(height);
}

std::string terminal_for(const fs::path& path, int height) {
  std::ostringstream text;
  if (path.extension() == ".pdf") {
    text << "set terminal pdfcairo size " << kWidth / 100.0 << ',' << height / 100.0 << " font 'sans,12'\n";
  } else {
    text << "set terminal " << (path.extension() == ".png" ? "pngcairo" : "svg") << " size " << kWidth << ',' << height
         << " font 'sans,12' background rgb 'white'\n";
  }
  return text.str();
}

// What every panel begins with.
constexpr const char* kStyle =
    "set grid lt 1 lc rgb '#dddddd'\n"
    "set key outside right top noenhanced width -5\n"  // letters are narrower than is reckoned, and the grid gives way
    "set lmargin 14\n"
    "set rmargin 30\n"
    "set tmargin 2.2\n"
    "set format y '%g'\n"
    "set xlabel noenhanced\n";

std::string script_of(const std::vector<Panel>& panels, const std::string& title, const fs::path& drawn) {
  const int height = pixels_high(panels);
  std::ostringstream text;
  text << terminal_for(drawn, height) << "set output " << gnuplot_word(drawn.string()) << '\n'
       << "set multiplot title " << gnuplot_word(title) << " noenhanced\n";
  double top = 1 - static_cast<double>(kTitleHeight) / height;
  for (const Panel& panel : panels) {
    const double share = kPanelHeight * panel.height / height;
    top -= share;
    text << "reset\n"
         << kStyle << "set size 1," << share << "\nset origin 0," << std::max(0.0, top) << "\nset title "
         << gnuplot_word(panel.title) << " noenhanced\n"
         << panel.commands << '\n';
  }
  text << "unset multiplot\n";
  return text.str();
}

// Exit status of gnuplot, -1 where it can't be started.
int run_gnuplot(const fs::path& script_file) {
  std::string file = script_file.string();
  std::string name = "gnuplot";
  char* const arguments[] = {name.data(), file.data(), nullptr};
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
  pid_t child = 0;
  const int started = posix_spawnp(&child, "gnuplot", &actions, nullptr, arguments, environ);
  posix_spawn_file_actions_destroy(&actions);
  if (started != 0) {
    return -1;
  }
  int status = 0;
  while (::waitpid(child, &status, 0) != child) {
    if (errno != EINTR) {
      return -1;
    }
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

}  // namespace

void check_picture_path(const fs::path& path) {
  const std::string extension = path.extension().string();
  GRADWISE_CHECK(extension == ".png" || extension == ".svg" || extension == ".pdf", "plot", "the file ending is \"",
                 extension, "\", allowed: .png, .svg, .pdf");
}

std::string folder_problem(const fs::path& folder) {
  std::error_code problem;
  if (!fs::is_directory(folder, problem)) {
    return "there is no folder " + folder.string();
  }
  return ::access(folder.c_str(), W_OK | X_OK) == 0 ? "" : "the folder " + folder.string() + " can't be written to";
}

PlotStatus draw(const std::vector<Panel>& panels, const std::string& title, const fs::path& path) {
  check_picture_path(path);
  if (panels.empty()) {
    return {false, "there is nothing to draw"};
  }
  if (std::string why = folder_problem(path.has_parent_path() ? path.parent_path() : "."); !why.empty()) {
    return {false, std::move(why)};
  }
  const std::string unique = ".drawing-" + std::to_string(::getpid()) + "-" + path.stem().string();
  const fs::path drawn = path.parent_path() / (unique + path.extension().string());
  const fs::path script_file = path.parent_path() / (unique + ".gnuplot");
  try {
    write_file_atomically(script_file, script_of(panels, title, drawn));
  } catch (const Error& error) {
    return {false, "can't write " + path.string() + ": " + error.what()};
  }
  const int status = run_gnuplot(script_file);
  std::error_code problem;
  fs::remove(script_file, problem);
  if (status != 0) {
    fs::remove(drawn, problem);
    return {false, status == -1 || status == 127 ? "the program gnuplot is not installed"
                                                 : "gnuplot failed with status " + std::to_string(status)};
  }
  fs::rename(drawn, path, problem);
  if (problem) {
    const std::string why = problem.message();
    fs::remove(drawn, problem);
    return {false, "can't write " + path.string() + ": " + why};
  }
  return {true, ""};
}

}  // namespace gradwise
