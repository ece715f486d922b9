// SPDX-License-Identifier: GPL-2.0-or-later
#include "format/index_name.h"

#include <climits>

namespace plyfs::format {
namespace {

// Either case, as the kernel's hex2bin; -1: no digit.
int digit_value(char digit) {
    if (digit >= '0' && digit <= '9') return digit - '0';
    if (digit >= 'a' && digit <= 'f') return digit - 'a' + 10;
    if (digit >= 'A' && digit <= 'F') return digit - 'A' + 10;
    return -1;
}

}  // namespace

Result<std::string> index_name(const HandleRecord& lower) {
    constexpr std::string_view kDigits = "0123456789abcdef";
    std::string name;
    for (const char byte : encode(lower)) {
        name += kDigits[static_cast<unsigned char>(byte) >> 4];
        name += kDigits[static_cast<unsigned char>(byte) & 15];
    }
    if (name.size() > NAME_MAX) return fail(ENAMETOOLONG);
    return name;
}

Result<HandleRecord> parse_index_name(std::string_view name) {
    if (name.size() % 2 != 0) return fail(EINVAL);
    std::string bytes;
    for (std::size_t at = 0; at < name.size(); at += 2) {
        const int high = digit_value(name[at]);
        const int low = digit_value(name[at + 1]);
        if (high < 0 || low < 0) return fail(EINVAL);
        bytes += static_cast<char>(high * 16 + low);
    }
    auto record = decode_handle_record(bytes);
    if (!record) return fail(EINVAL);
    return *std::move(record);
}

}  // namespace plyfs::format
