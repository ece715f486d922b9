// SPDX-License-Identifier: GPL-2.0-or-later
#include "session/saved_records.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <span>
#include <type_traits>
#include <utility>

namespace plyfs::session {
namespace {

constexpr std::size_t kBufferSize = 1U << 20;

// What stands before each record: which kind it is, and how many bytes follow.
struct Head {
    std::uint32_t kind;
    std::uint32_t size;
};

// The members of each, in the order in which they are written. Archive: Output or Input.
template <typename Archive>
void members(Archive& archive, Timestamp& time) {
    archive(time.seconds, time.nanoseconds);
}
template <typename Archive>
void members(Archive& archive, RealId& real) {
    archive(real.device, real.inode, real.birth);
}
template <typename Archive>
void members(Archive& archive, LowerPlace& place) {
    archive(place.branch, place.path);
}
template <typename Archive>
void members(Archive& archive, SavedTotals& saved) {
    archive(saved.next_node, saved.next_file, saved.next_directory);
}
template <typename Archive>
void members(Archive& archive, SavedTag& saved) {
    archive(saved.device, saved.tag);
}
template <typename Archive>
void members(Archive& archive, SavedName& saved) {
    archive(saved.parent, saved.name);
}
template <typename Archive>
void members(Archive& archive, SavedNode& saved) {
    archive(saved.id, saved.type, saved.lookups, saved.names, saved.stack, saved.lower_places,
            saved.index_entry, saved.shown_inode, saved.real, saved.held, saved.successor,
            saved.twin, saved.found, saved.alone, saved.snapshot);
}
template <typename Archive>
void members(Archive& archive, SavedSnapshot& saved) {
    archive(saved.number, saved.real, saved.branch, saved.object);
}
template <typename Archive>
void members(Archive& archive, SavedFile& saved) {
    archive(saved.handle, saved.node, saved.real, saved.branch, saved.flags, saved.descriptor,
            saved.snapshot, saved.followed, saved.followed_real, saved.followed_has_data);
}
template <typename Archive>
void members(Archive& archive, SavedEntry& saved) {
    archive(saved.name, saved.inode, saved.branch, saved.type, saved.several);
}
template <typename Archive>
void members(Archive& archive, SavedDirectory& saved) {
    archive(saved.handle, saved.node, saved.begun, saved.names);
}
template <typename Archive>
void members(Archive& archive, SavedVisit& saved) {
    archive(saved.thread, saved.node);
}
template <typename Archive>
void members(Archive& archive, passthrough::SavedOpened& saved) {
    archive(saved.node, saved.mode, saved.backing_id, saved.real, saved.follows, saved.opens,
            saved.mappers, saved.passed, saved.mapped, saved.attached, saved.inherited);
}
template <typename Archive>
void members(Archive& archive, SavedSession& saved) {
    archive(saved.generation, saved.connection, saved.restarts, saved.agreed, saved.init_request,
            saved.init_reply);
}
template <typename Archive>
void members(Archive& archive, SavedLock& saved) {
    archive(saved.node, saved.owner, saved.descriptor);
}
template <typename Archive>
void members(Archive& archive, SavedExpiry& saved) {
    archive(saved.parent, saved.name);
}

template <typename T>
concept Row = requires(T row) {
    row.size();
    row.resize(1);
};

// Appends: numbers as they are in memory, rows with their length before them.
class Output {
public:
    explicit Output(std::vector<std::uint8_t>& bytes) : bytes_(bytes) {}

    template <typename... Members>
    void operator()(Members&... all) {
        (add(all), ...);
    }

private:
    template <typename T>
    void add(T& value) {
        if constexpr (std::is_arithmetic_v<T> || std::is_enum_v<T>) {
            const auto* const front = reinterpret_cast<const std::uint8_t*>(&value);
            bytes_.insert(bytes_.end(), front, front + sizeof value);
        } else if constexpr (Row<T>) {
            auto size = static_cast<std::uint32_t>(value.size());
            add(size);
            for (auto& item : value) add(item);
        } else {
            members(*this, value);
        }
    }

    std::vector<std::uint8_t>& bytes_;
};

// Takes the same from the front; is_ended() tells whether that was all there was, and made sense.
class Input {
public:
    explicit Input(std::span<const std::uint8_t> bytes) : bytes_(bytes) {}

    template <typename... Members>
    void operator()(Members&... all) {
        (take(all), ...);
    }
    bool is_ended() const noexcept { return valid_ && bytes_.empty(); }

private:
    template <typename T>
    void take(T& value) {
        if constexpr (std::is_same_v<T, bool>) {
            std::uint8_t byte = 0;
            take(byte);
            valid_ = valid_ && byte <= 1;
            value = byte != 0;
        } else if constexpr (std::is_same_v<T, passthrough::IoMode>) {
            std::underlying_type_t<T> number = 0;
            take(number);
            valid_ = valid_ && number <= static_cast<int>(passthrough::IoMode::Passthrough);
            if (valid_) value = static_cast<T>(number);
        } else if constexpr (std::is_arithmetic_v<T>) {
            valid_ = valid_ && bytes_.size() >= sizeof value;
            if (!valid_) return;
            std::memcpy(&value, bytes_.data(), sizeof value);
            bytes_ = bytes_.subspan(sizeof value);
        } else if constexpr (Row<T>) {
            std::uint32_t size = 0;
            take(size);
            // Each item takes a byte at least.
            valid_ = valid_ && size <= bytes_.size();
            if (!valid_) return;
            value.resize(size);
            for (auto& item : value) take(item);
        } else {
            members(*this, value);
        }
    }

    std::span<const std::uint8_t> bytes_;
    bool valid_ = true;
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
        Saved saved;
        Input input(bytes);
        input(saved);
        if (!input.is_ended()) return fail(EPROTO);
        if constexpr (std::is_constructible_v<SavedState, Saved>) {
            return Record(SavedState(std::move(saved)));
        } else {
            return Record(std::move(saved));
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
        Head head{kind_of<Saved>(), 0};
        const std::size_t begin = buffer_.size();
        buffer_.resize(begin + sizeof head);
        Output output(buffer_);
        output(const_cast<Saved&>(saved));  // it only reads
        head.size = static_cast<std::uint32_t>(buffer_.size() - begin - sizeof head);
        std::memcpy(buffer_.data() + begin, &head, sizeof head);
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
