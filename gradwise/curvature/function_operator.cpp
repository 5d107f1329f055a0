#include "gradwise/curvature/function_operator.h"

#include <utility>

#include "gradwise/core/error.h"
#include "gradwise/curvature/rounding.h"

namespace gradwise {

FunctionOperator::FunctionOperator(Function function, std::int64_t size, at::TensorOptions options)
    : function_(std::move(function)), size_(size), options_(options) {
  GRADWISE_CHECK(size >= 0, "function_operator", "size is ", size, ", allowed: >= 0");
  GRADWISE_CHECK(at::isFloatingType(options.dtype().toScalarType()), "function_operator", "the type is ",
                 options.dtype().name(), ", allowed: a floating-point type");
}

at::Tensor FunctionOperator::apply(const at::Tensor& vector) const {
  at::Tensor result = function_(vector);
  GRADWISE_CHECK(result.dim() == 1 && result.numel() == size_, "function_operator", "the product has the shape ",
                 result.sizes(), ", allowed: [", size_, "]");
  return result.detach();
}

MatrixOperator::MatrixOperator(at::Tensor matrix) : matrix_(matrix.detach()) {
  GRADWISE_CHECK(matrix.dim() == 2 && matrix.size(0) == matrix.size(1), "matrix_operator", "the matrix has the shape ",
                 matrix.sizes(), ", allowed: square");
  GRADWISE_CHECK(at::isFloatingType(matrix.scalar_type()), "matrix_operator", "the type is ", matrix.scalar_type(),
                 ", allowed: a floating-point type");
  if (matrix_.numel() > 0) {
    check_symmetric("matrix_operator", *this, matrix_, matrix_.t(), matrix_.abs().max().item<double>());
  }
}

}  // namespace gradwise
