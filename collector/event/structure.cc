#include "collector/event/structure.h"

#include <simdjson.h>

#include <bit>
#include <string>

#include "storage/base/check.h"

namespace weir::event {
namespace {

constexpr size_t kFirstCapacity = 16 << 10;  // 64 KiB of offsets; nearly every event fits

}  // namespace

struct StructureIndex::Impl {
  std::unique_ptr<simdjson::internal::dom_parser_implementation> parser;
};

StructureIndex::StructureIndex() : impl_(std::make_unique<Impl>()) {
  WEIR_CHECK(reserve(kFirstCapacity), "no memory for the first index");
}

StructureIndex::~StructureIndex() = default;

// One byte of text can need one offset of four bytes; sizes double so that growth is rare.
bool StructureIndex::reserve(size_t bytes) {
  const size_t capacity = std::bit_ceil(bytes < kFirstCapacity ? kFirstCapacity : bytes);
  const simdjson::error_code error =
      impl_->parser == nullptr
          ? simdjson::get_active_implementation()->create_dom_parser_implementation(capacity, 1,
                                                                                    impl_->parser)
          : impl_->parser->set_capacity(capacity);
  capacity_ = error == simdjson::SUCCESS ? capacity : 0;
  return error == simdjson::SUCCESS;
}

bool StructureIndex::build(std::string_view text) {
  size_ = 0;
  if (text.empty() || (text.size() > capacity_ && !reserve(text.size()))) return false;
  const auto* bytes = reinterpret_cast<const uint8_t*>(text.data());
  if (impl_->parser->stage1(bytes, text.size(), simdjson::stage1_mode::regular) !=
      simdjson::SUCCESS)
    return false;
  offsets_ = impl_->parser->structural_indexes.get();
  size_ = impl_->parser->n_structural_indexes;
  return size_ > 0;
}

std::string_view StructureIndex::implementation_name() {
  static const std::string name = simdjson::get_active_implementation()->name();
  return name;
}

}  // namespace weir::event
