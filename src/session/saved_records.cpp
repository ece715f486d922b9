// SPDX-License-Identifier: GPL-2.0-or-later
#include "session/saved_records.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <nlohmann/json.hpp>
#include <span>
#include <type_traits>
#include <utility>

// How each is written: an object with the members' names.
namespace plyfs {
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Timestamp, seconds, nanoseconds)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(RealId, device, inode, birth)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(LowerPlace, branch, path)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(SavedTotals, next_node, next_file, next_directory)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(SavedTag, device, tag)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(SavedName, parent, name)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(SavedNode, id, type, lookups, names, stack, lower_places,
                                   index_entry, shown_inode, real, held, successor, twin, found,
                                   alone, snapshot)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(SavedSnapshot, number, real, branch, object)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(SavedFile, handle, node, real, branch, flags, descriptor,
                                   snapshot, followed, followed_real, followed_has_data)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(SavedEntry, name, inode, branch, type, several)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(SavedDirectory, handle, node, begun, names)
namespace passthrough {
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(SavedOpened, node, mode, backing_id, real, follows, opens,
                                   mappers, passed, mapped, attached, inherited)
}
namespace session {
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(SavedSession, generation, connection, restarts, agreed,
                                   init_request, init_reply)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(SavedLock, node, owner, descriptor)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(SavedExpiry, parent, name)
}  // namespace session
}  // namespace plyfs

namespace plyfs::session {
namespace {

using Json = nlohmann::json;

constexpr std::size_t kBufferSize = 1U << 20;

// What stands before each record: which kind it is, and how many bytes follow.
struct Head {
    std::uint32_t kind;
    std::uint32_t size;
};

// The alternatives of Record and of the SavedState in it, in one row: their kinds.
template <typename... Lists>
struct Joined;
template <typename... First, typename... Second>
struct Joined<std::variant<First...>, std::variant<Second...>> {
    using Type = std::variant<First..., Second...>;
};
using Flat = Joined<std::variant<SavedSession, SavedLock, SavedExpiry, passthrough::SavedOpened>,
                    SavedState>::Type;

// Which of the alternatives it is.
template <typename Saved, std::size_t Kind = 0>
consteval std::uint32_t kind_of() {
    if constexpr (std::is_same_v<std::variant_alternative_t<Kind, Flat>, Saved>) {
        return Kind;
    } else {
        return kind_of<Saved, Kind + 1>();
    }
}

template <std::size_t Kind = 0>
Result<Record> decode(std::uint32_t kind, std::span<const std::uint8_t> bytes) {
    if constexpr (Kind == std::variant_size_v<Flat>) {
        return fail(EPROTO);
    } else {
        if (kind != Kind) return decode<Kind + 1>(kind, bytes);
        using Saved = std::variant_alternative_t<Kind, Flat>;
        // The library's barrier.
        try {
            auto saved = Json::from_cbor(bytes.begin(), bytes.end()).template get<Saved>();
            if constexpr (std::is_constructible_v<SavedState, Saved>) {
                return Record(SavedState(std::move(saved)));
            } else {
                return Record(std::move(saved));
            }
        } catch (const Json::exception&) {
            return fail(EPROTO);
        }
    }
}

class Mapping {
public:
    static Result<Mapping> of(int file) {
        struct stat status{};
        if (::fstat(file, &status) != 0) return fail(Errno::last());
        const auto size = static_cast<std::size_t>(status.st_size);
        if (size == 0) return fail(EPROTO);
        void* const bytes = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file, 0);
        if (bytes == MAP_FAILED) return fail(Errno::last());
        return Mapping(static_cast<const std::uint8_t*>(bytes), size);
    }
    std::span<const std::uint8_t> bytes() const noexcept { return {bytes_.get(), size_}; }

private:
    struct Unmap {
        std::size_t size;
        void operator()(const std::uint8_t* bytes) const noexcept {
            ::munmap(const_cast<std::uint8_t*>(bytes), size);
        }
    };
    Mapping(const std::uint8_t* bytes, std::size_t size)
        : bytes_(bytes, Unmap{size}), size_(size) {}

    std::unique_ptr<const std::uint8_t, Unmap> bytes_;
    std::size_t size_;
};

}  // namespace

Result<RecordWriter> RecordWriter::create() {
    UniqueFd file(::memfd_create("plyfs-handover", MFD_CLOEXEC));
    if (!file) return fail(Errno::last());
    return RecordWriter(std::move(file));
}

void RecordWriter::add(const Record& record) {
    const auto append = [&](const auto& saved) {
        using Saved = std::remove_cvref_t<decltype(saved)>;
        const std::vector<std::uint8_t> bytes = Json::to_cbor(Json(saved));
        const Head head{kind_of<Saved>(), static_cast<std::uint32_t>(bytes.size())};
        const auto* const front = reinterpret_cast<const std::uint8_t*>(&head);
        buffer_.insert(buffer_.end(), front, front + sizeof head);
        buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
    };
    std::visit(
        [&](const auto& saved) {
            if constexpr (std::is_same_v<std::remove_cvref_t<decltype(saved)>, SavedState>) {
                std::visit(append, saved);
            } else {
                append(saved);
            }
        },
        record);
    if (buffer_.size() >= kBufferSize) flush();
}

void RecordWriter::flush() {
    for (std::size_t done = 0; written_ && done < buffer_.size();) {
        const ssize_t size = ::write(file_.get(), buffer_.data() + done, buffer_.size() - done);
        if (size > 0) {
            done += static_cast<std::size_t>(size);
        } else if (size == 0 || errno != EINTR) {
            written_ = fail(size == 0 ? ENOSPC : errno);
        }
    }
    buffer_.clear();
}

Result<UniqueFd> RecordWriter::finish() {
    flush();
    TRY(written_);
    return std::move(file_);
}

Result<void> read_records(int file, const std::function<Result<void>(Record&&)>& visit) {
    const Mapping mapping = TRY(Mapping::of(file));
    std::span rest = mapping.bytes();
    while (!rest.empty()) {
        Head head{};
        if (rest.size() < sizeof head) return fail(EPROTO);
        std::memcpy(&head, rest.data(), sizeof head);
        rest = rest.subspan(sizeof head);
        if (rest.size() < head.size) return fail(EPROTO);
        TRY(visit(TRY(decode(head.kind, rest.first(head.size)))));
        rest = rest.subspan(head.size);
    }
    return {};
}

}  // namespace plyfs::session
