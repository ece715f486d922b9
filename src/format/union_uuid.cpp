// SPDX-License-Identifier: GPL-2.0-or-later
#include "format/union_uuid.h"

#include <cstring>
#include <span>

#include "sys/small_file.h"

namespace plyfs::format {

Result<std::optional<Uuid>> read_union_uuid(int root, const MarkRules& rules) {
    const auto value = TRY(read_mark(root, Mark::Uuid, rules));
    Uuid uuid{};
    if (!value || value->size() != uuid.size()) return std::nullopt;
    std::memcpy(uuid.data(), value->data(), uuid.size());
    return uuid;
}

Result<void> write_union_uuid(int root, const MarkFormat& format, const Uuid& uuid) {
    const std::string value(reinterpret_cast<const char*>(uuid.data()), uuid.size());
    return write_mark(root, Mark::Uuid, format, value);
}

Result<Uuid> make_union_uuid() {
    Uuid uuid{};
    TRY(sys::random_bytes(std::as_writable_bytes(std::span(uuid))));
    uuid[6] = static_cast<std::uint8_t>((uuid[6] & 0x0f) | 0x40);
    uuid[8] = static_cast<std::uint8_t>((uuid[8] & 0x3f) | 0x80);
    return uuid;
}

}  // namespace plyfs::format
