// SPDX-License-Identifier: GPL-2.0-or-later
#include "format/metacopy.h"

#include "format/bytes.h"

namespace plyfs::format {
namespace {

constexpr std::size_t kMetacopyHeaderSize = 4;

}  // namespace

Result<Metacopy> parse_metacopy(std::string_view value) {
    if (value.empty()) return Metacopy{};
    if (value.size() < kMetacopyHeaderSize || value.size() > kMetacopyHeaderSize + kLongestDigest)
        return fail(EIO);
    if (byte_at(value, 0) != 0 || byte_at(value, 1) != value.size()) return fail(EIO);
    return Metacopy{.flags = byte_at(value, 2),
                    .digest_algorithm = byte_at(value, 3),
                    .digest = std::string(value.substr(kMetacopyHeaderSize))};
}

Result<std::string> encode(const Metacopy& metacopy) {
    if (metacopy.digest.size() > kLongestDigest) return fail(EINVAL);
    if (metacopy.flags == 0 && metacopy.digest_algorithm == 0) return std::string{};
    std::string value(kMetacopyHeaderSize, '\0');
    value[1] = static_cast<char>(kMetacopyHeaderSize + metacopy.digest.size());
    value[2] = static_cast<char>(metacopy.flags);
    value[3] = static_cast<char>(metacopy.digest_algorithm);
    return value.append(metacopy.digest);
}

Result<std::optional<Metacopy>> read_metacopy(int file, const MarkRules& rules) {
    const auto value = TRY(read_mark(file, Mark::Metacopy, rules));
    if (!value) return std::nullopt;
    return TRY(parse_metacopy(*value));
}

Result<void> write_metacopy(int file, const MarkFormat& format, const Metacopy& metacopy) {
    return write_mark(file, Mark::Metacopy, format, TRY(encode(metacopy)));
}

Result<void> remove_metacopy(int file, const MarkRules& rules) {
    return remove_mark(file, Mark::Metacopy, rules);
}

}  // namespace plyfs::format
