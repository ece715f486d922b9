// SPDX-License-Identifier: GPL-2.0-or-later
#include "sys/error.h"

#include <array>
#include <cstring>

namespace plyfs {

std::string Errno::message() const {
    std::array<char, 128> buffer{};
    // The GNU strerror_r returns the text, which may or may not be in the buffer.
    return strerror_r(code_, buffer.data(), buffer.size());
}

}  // namespace plyfs
