// Symbols are those of Fong and Saunders, 2011, sections 2 to 5.
#include <ATen/ops/zeros_like.h>

#include <cmath>

#include "gradwise/curvature/right_side.h"
#include "gradwise/curvature/rounding.h"
#include "gradwise/curvature/solve.h"

namespace gradwise {
namespace {

struct Rotation {
  double c = 1;
  double s = 0;
  double r = 0;
};

Rotation rotation(double a, double b) {
  const double r = std::hypot(a, b);
  return r > 0 ? Rotation{a / r, b / r, r} : Rotation{};
}

// The scalars of the two QR factorisations, and the norms of the residuals that follow from them.
class Recurrence {
 public:
  Recurrence(double alpha, double beta, double damping)
      : damping_(damping), alpha_bar_(alpha), zeta_bar_(alpha * beta), beta_dd_(beta), squares_(alpha * alpha) {}

  void advance(double alpha, double beta) {
    const Rotation hat = rotation(alpha_bar_, damping_);
    rho_before = rho;
    const Rotation p = rotation(hat.r, beta);
    rho = p.r;
    theta = p.s * alpha;
    alpha_bar_ = p.c * alpha;
    rho_bar_before = rho_bar;
    const double zeta_before = zeta;
    theta_bar = bar_.s * rho;
    bar_ = rotation(bar_.c * rho, theta);
    rho_bar = bar_.r;
    zeta = bar_.c * zeta_bar_;
    zeta_bar_ = -bar_.s * zeta_bar_;
    advance_residual(hat, p, zeta_before);
    squares_ += beta * beta;
    norm_A = std::sqrt(squares_);
    squares_ += alpha * alpha;
  }

  [[nodiscard]] double normal_residual() const { return std::abs(zeta_bar_); }

  double rho = 1;
  double rho_before = 1;
  double rho_bar = 1;
  double rho_bar_before = 1;
  double theta = 0;      // theta_{k+1}
  double theta_bar = 0;  // of this step
  double zeta = 0;
  double residual = 0;
  double norm_A = 0;  // as far as it was seen, in Frobenius' norm

 private:
  // |r_k|, section 5.1.
  void advance_residual(const Rotation& hat, const Rotation& p, double zeta_before) {
    const double acute = hat.c * beta_dd_;
    const double check = -hat.s * beta_dd_;
    const double beta_hat = p.c * acute;
    beta_dd_ = -p.s * acute;
    const double theta_tilde_before = theta_tilde_;
    const Rotation tilde = rotation(rho_d_, theta_bar);
    theta_tilde_ = tilde.s * rho_bar;
    rho_d_ = tilde.c * rho_bar;
    beta_d_ = -tilde.s * beta_d_ + tilde.c * beta_hat;
    tau_tilde_ = (zeta_before - theta_tilde_before * tau_tilde_) / tilde.r;
    const double tau = (zeta - theta_tilde_ * tau_tilde_) / rho_d_;
    damped_ += check * check;
    residual = std::sqrt(damped_ + (beta_d_ - tau) * (beta_d_ - tau) + beta_dd_ * beta_dd_);
  }

  double damping_;
  double alpha_bar_;
  double zeta_bar_;
  Rotation bar_;
  double beta_dd_;
  double beta_d_ = 0;
  double rho_d_ = 1;
  double tau_tilde_ = 0;
  double theta_tilde_ = 0;
  double damped_ = 0;
  double squares_;
};

double normalize(at::Tensor& vector) {
  const double length = vector.norm().item<double>();
  if (length > 0) {
    vector = vector.div(length);
  }
  return length;
}

}  // namespace

Solution lsmr(const LinearOperator& matrix, const at::Tensor& b, const SolveOptions& options) {
  at::Tensor u = right_side("lsmr", matrix, b);
  check_fields("lsmr", options);
  const at::Tensor right = u;
  const double beta_1 = normalize(u);
  at::Tensor v = product(matrix, u);
  double alpha = normalize(v);
  Solution found;
  found.products = 1;
  found.x = at::zeros_like(right);
  at::Tensor h = v;
  at::Tensor h_bar = at::zeros_like(v);
  Recurrence scalars(alpha, beta_1, options.damping);
  bool settled = alpha == 0;
  while (!settled && found.products + 4 <= options.products) {
    const at::Tensor Av = product(matrix, v);
    if (found.iterations == 0) {
      check_symmetric("lsmr", matrix, u.dot(Av), at::zeros_like(u.dot(Av)).add(alpha), Av.norm().item<double>());
    }
    u = Av.sub(u, alpha);
    const double beta = normalize(u);
    v = product(matrix, u).sub(v, beta);
    alpha = normalize(v);
    scalars.advance(alpha, beta);
    h_bar = h.sub(h_bar, scalars.theta_bar * scalars.rho / (scalars.rho_before * scalars.rho_bar_before));
    found.x = found.x.add(h_bar, scalars.zeta / (scalars.rho * scalars.rho_bar));
    h = v.sub(h, scalars.theta / scalars.rho);
    ++found.iterations;
    found.products += 2;
    settled = scalars.residual <= options.tolerance * beta_1 ||
              scalars.normal_residual() <= options.tolerance * scalars.norm_A * scalars.residual || alpha == 0 ||
              beta == 0;
  }
  const at::Tensor rest = right.sub(product(matrix, found.x));
  const double length = rest.norm().item<double>();
  const at::Tensor slope = product(matrix, rest).sub(found.x, options.damping * options.damping);
  found.products += 2;
  found.residual = beta_1 > 0 ? length / beta_1 : 0;
  const double whole = std::hypot(length, options.damping * found.x.norm().item<double>());
  found.normal = whole > 0 && scalars.norm_A > 0 ? slope.norm().item<double>() / (scalars.norm_A * whole) : 0;
  // The recurrence's residuals and the true ones part by rounding.
  found.converged = found.residual <= 2 * options.tolerance || found.normal <= 2 * options.tolerance;
  return found;
}

}  // namespace gradwise
