// SPDX-License-Identifier: GPL-2.0-or-later
#include "format/protection.h"

#include <linux/fs.h>

namespace plyfs::format {

Protection protection_of_flags(std::uint32_t flags) noexcept {
    return {.append = (flags & FS_APPEND_FL) != 0, .immutable = (flags & FS_IMMUTABLE_FL) != 0};
}

std::uint32_t flags_of(const Protection& protection) noexcept {
    return (protection.append ? std::uint32_t{FS_APPEND_FL} : 0) |
           (protection.immutable ? std::uint32_t{FS_IMMUTABLE_FL} : 0);
}

std::optional<Protection> parse_protection(std::string_view value) noexcept {
    if (value.empty()) return std::nullopt;
    Protection protection;
    for (const char letter : value) {
        if (letter == 'a') {
            protection.append = true;
        } else if (letter == 'i') {
            protection.immutable = true;
        } else {
            return std::nullopt;
        }
    }
    return protection;
}

std::string encode(const Protection& protection) {
    return std::string(protection.append ? "a" : "") + (protection.immutable ? "i" : "");
}

Result<Protection> read_protection(int object, const MarkRules& rules) {
    const auto value = TRY(read_mark(object, Mark::Protection, rules));
    if (!value) return Protection{};
    return parse_protection(*value).value_or(Protection{});
}

Result<void> write_protection(int object, const MarkFormat& format, const Protection& protection) {
    if (protection == Protection{}) {
        if (!format.names) return {};
        return remove_mark(object, Mark::Protection, kernel_rules(*format.names));
    }
    return write_mark(object, Mark::Protection, format, encode(protection));
}

}  // namespace plyfs::format
