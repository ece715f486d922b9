// SPDX-License-Identifier: GPL-2.0-or-later
#include "format/handle_record.h"

#include <bit>
#include <cstring>

#include "format/bytes.h"
#include "sys/file_handle.h"

namespace plyfs::format {
namespace {

constexpr std::uint8_t kVersion = 0;
constexpr std::uint8_t kMagic = 0xfb;
constexpr std::size_t kHeaderSize = 21;
constexpr std::size_t kUuidOffset = 5;

constexpr std::uint8_t kBigEndian = 1;
constexpr std::uint8_t kAnyEndian = 2;
constexpr std::uint8_t kUpper = 4;
constexpr std::uint8_t kAllFlags = kBigEndian | kAnyEndian | kUpper;
constexpr std::uint8_t kThisEndian = std::endian::native == std::endian::big ? kBigEndian : 0;

}  // namespace

std::string encode(const HandleRecord& record) {
    std::uint8_t flags = kThisEndian;
    if (record.any_endian) flags |= kAnyEndian;
    if (record.upper) flags |= kUpper;
    std::string bytes;
    bytes.reserve(kHeaderSize + record.handle.size());
    const auto length = static_cast<std::uint8_t>(kHeaderSize + record.handle.size());
    for (const std::uint8_t byte : {kVersion, kMagic, length, flags, record.type}) {
        bytes.push_back(static_cast<char>(byte));
    }
    for (const std::uint8_t byte : record.uuid) bytes.push_back(static_cast<char>(byte));
    return bytes.append(record.handle);
}

std::expected<HandleRecord, RecordFault> decode_handle_record(std::string_view bytes) {
    if (bytes.empty()) return std::unexpected(RecordFault::Unknown);
    if (bytes.size() < kHeaderSize) return std::unexpected(RecordFault::Damaged);
    const std::size_t length = byte_at(bytes, 2);
    if (byte_at(bytes, 1) != kMagic || length > bytes.size()) {
        return std::unexpected(RecordFault::Damaged);
    }
    const std::uint8_t flags = byte_at(bytes, 3);
    if (byte_at(bytes, 0) > kVersion || (flags & ~kAllFlags) != 0) {
        return std::unexpected(RecordFault::Unknown);
    }
    if ((flags & kAnyEndian) == 0 && (flags & kBigEndian) != kThisEndian) {
        return std::unexpected(RecordFault::Unknown);
    }
    // Overlayfs leaves it to the file system to refuse a handle without bytes.
    if (length <= kHeaderSize) return std::unexpected(RecordFault::Damaged);
    HandleRecord record;
    record.any_endian = (flags & kAnyEndian) != 0;
    record.upper = (flags & kUpper) != 0;
    record.type = byte_at(bytes, 4);
    std::memcpy(record.uuid.data(), bytes.data() + kUuidOffset, record.uuid.size());
    record.handle = bytes.substr(kHeaderSize, length - kHeaderSize);
    return record;
}

Result<HandleRecord> handle_record(int descriptor, const Uuid& uuid, bool upper) {
    // sys::file_handle puts the type, an int, before the handle's bytes.
    const std::string whole = TRY(sys::file_handle(descriptor));
    int type = 0;
    if (whole.size() <= sizeof type) return fail(EOPNOTSUPP);
    std::memcpy(&type, whole.data(), sizeof type);
    if (type < 0 || type > UINT8_MAX || whole.size() - sizeof type > UINT8_MAX - kHeaderSize) {
        return fail(EOVERFLOW);
    }
    HandleRecord record;
    record.upper = upper;
    record.type = static_cast<std::uint8_t>(type);
    record.uuid = uuid;
    record.handle = whole.substr(sizeof type);
    return record;
}

bool matches(const HandleRecord& record, const Uuid& uuid, UuidRule rule) noexcept {
    const bool null = record.uuid == Uuid{};
    switch (rule) {
        case UuidRule::NullOnly: return null;
        case UuidRule::Known: return !null && record.uuid == uuid;
        case UuidRule::Same: return record.uuid == uuid;
    }
    return false;
}

Result<UniqueFd> open_handle_record(int mount, const Uuid& uuid, UuidRule rule,
                                    const HandleRecord& record, int flags) {
    if (!matches(record, uuid, rule)) return fail(ESTALE);
    const int type = record.type;
    std::string whole(sizeof type, '\0');
    std::memcpy(whole.data(), &type, sizeof type);
    return sys::open_file_handle(mount, whole.append(record.handle), flags);
}

Result<HandleMark> read_handle_mark(int object, Mark mark, const MarkRules& rules) {
    const auto value = TRY(read_mark(object, mark, rules));
    HandleMark found;
    if (!value) return found;
    found.present = true;
    auto record = decode_handle_record(*value);
    if (record) {
        found.record = *std::move(record);
    } else {
        found.damaged = record.error() == RecordFault::Damaged;
    }
    return found;
}

Result<bool> write_handle_mark(int object, Mark mark, const MarkFormat& format,
                               const std::optional<HandleRecord>& record) {
    const auto written = write_mark(object, mark, format, record ? encode(*record) : std::string{});
    if (written) return true;
    if (written.error() == EOPNOTSUPP) return false;
    if (written.error() == EPERM && format.names == Namespace::User) return false;
    return fail(written.error());
}

}  // namespace plyfs::format
