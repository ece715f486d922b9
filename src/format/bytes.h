// SPDX-License-Identifier: GPL-2.0-or-later
//
// Bytes of the values of marks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace plyfs::format {

// `index` is below the size.
inline std::uint8_t byte_at(std::string_view bytes, std::size_t index) {
    return static_cast<std::uint8_t>(bytes[index]);
}

}  // namespace plyfs::format
