// SPDX-License-Identifier: GPL-2.0-or-later
#include "copyup/data.h"

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <memory>
#include <span>

#include "sys/data.h"
#include "sys/file_system_space.h"
#include "sys/metadata.h"

namespace plyfs::copyup {
namespace {

constexpr off_t kKibi = 1024;
constexpr off_t kMebi = 1024 * kKibi;
// One call at most, so that a cancellation is seen soon: some 100 ms of a slow disk.
constexpr off_t kPiece = 8 * kMebi;
constexpr off_t kBuffer = kMebi;
// Up to here a file that can't be cloned is handed to the kernel in one call: asking for holes
// would cost more than it saves.
constexpr off_t kSmall = 64 * kKibi;
// How far to go on where a file changes so fast that its extents contradict each other.
constexpr off_t kStep = 4 * kKibi;

// Bytes of the source: [begin, end).
struct Extent {
    off_t begin;
    off_t end;
};

// What says that these two files can't be cloned, or not by this call: the next way is tried.
bool is_unable(Errno error) {
    switch (error.code()) {
        case EXDEV:
        case EOPNOTSUPP:
        case EINVAL:
        case ENOSYS:
        case ENOTTY:
        case ETXTBSY:  // a swap file
        case EBADF:    // a file system that refuses it so
        case EPERM: return true;
        default: return false;
    }
}

class DataCopy {
public:
    DataCopy(int source, const Attributes& attributes, int target, const Observer& observer)
        : source_(source), target_(target), observer_(observer),
          size_(static_cast<off_t>(attributes.size)),
          occupied_(static_cast<off_t>(attributes.blocks) * 512), end_(size_) {}

    Result<CopiedData> run();

private:
    Result<void> check_cancelled() const;
    Result<void> check_room() const;
    Result<bool> clone();
    Result<void> walk();
    Result<Extent> next_extent(off_t position);
    Result<Extent> trailing_hole(off_t position);
    Result<void> copy_extent(Extent extent);
    Result<std::size_t> copy_piece(off_t position, std::size_t length);
    Result<std::size_t> read_and_write(off_t position, std::size_t length);

    // Constant after construction.
    const int source_;
    const int target_;
    const Observer& observer_;
    const off_t size_;      // of the source when the copy began
    const off_t occupied_;  // bytes of its blocks

    off_t end_;          // less than size_ once the source was seen to have shrunk
    off_t written_ = 0;  // end of the last byte written
    bool by_kernel_ = true;
    std::unique_ptr<std::byte[]> buffer_;  // made when it is first needed
    CopiedData copied_;
};

Result<void> DataCopy::check_cancelled() const {
    if (observer_.cancelled && observer_.cancelled()) return fail(EINTR);
    return {};
}

// Not by fallocate(2): writing into what it reserves makes the copy slower, and on btrfs it keeps
// the copy from being compressed.
Result<void> DataCopy::check_room() const {
    const FileSystemSpace space = TRY(sys::file_system_space(target_));
    const auto wanted = static_cast<std::uint64_t>(std::min(occupied_, size_));
    // Root may use the blocks that are kept for it.
    if (space.unit != 0 && wanted / space.unit > space.free_blocks) return fail(ENOSPC);
    return {};
}

Result<bool> DataCopy::clone() {
    const auto cloned = sys::clone_data(source_, target_);
    if (!cloned) return is_unable(cloned.error()) ? Result<bool>(false) : fail(cloned.error());
    copied_ = {DataOrigin::Cloned, static_cast<std::uint64_t>(size_)};
    if (observer_.advanced) observer_.advanced(copied_.bytes);
    return true;
}

// The rest of the file is a hole, or the file has lost its rest.
Result<Extent> DataCopy::trailing_hole(off_t position) {
    const off_t now = TRY(sys::seek(source_, 0, SEEK_END));
    end_ = std::clamp(now, position, size_);
    return Extent{end_, end_};
}

// The next data at or after `position`; without any, an empty extent at the end.
Result<Extent> DataCopy::next_extent(off_t position) {
    const auto data = sys::seek(source_, position, SEEK_DATA);
    if (!data && data.error() == ENXIO) return trailing_hole(position);
    if (!data)
        return is_unable(data.error()) ? Result<Extent>({position, size_}) : fail(data.error());
    const off_t begin = std::min(*data, size_);
    const auto hole = sys::seek(source_, begin, SEEK_HOLE);
    // ENXIO: it has shrunk since. The copy will find out how far.
    if (!hole && hole.error() != ENXIO && !is_unable(hole.error())) return fail(hole.error());
    const off_t end = hole ? std::max(*hole, begin + kStep) : size_;
    return Extent{begin, std::min(end, size_)};
}

Result<std::size_t> DataCopy::read_and_write(off_t position, std::size_t length) {
    if (!buffer_) {
        buffer_ = std::make_unique_for_overwrite<std::byte[]>(
            static_cast<std::size_t>(std::min(kBuffer, size_)));
    }
    const std::span<std::byte> room(buffer_.get(),
                                    std::min(length, static_cast<std::size_t>(kBuffer)));
    const std::size_t read = TRY(sys::read_at(source_, room, position));
    if (read == 0) return read;
    const std::size_t written = TRY(sys::write_at(target_, room.first(read), position));
    // None written would look like the end of the source.
    return written != 0 ? Result<std::size_t>(written) : fail(EIO);
}

// Bytes copied: none at the end of the source only.
Result<std::size_t> DataCopy::copy_piece(off_t position, std::size_t length) {
    if (by_kernel_) {
        const auto copied = sys::copy_range(source_, position, target_, position, length);
        if (copied && *copied > 0) return copied;
        if (!copied && !is_unable(copied.error())) return copied;
        // Some file systems copy nothing where a read gives bytes, so the read decides.
        if (!copied) by_kernel_ = false;
    }
    return read_and_write(position, length);
}

Result<void> DataCopy::copy_extent(Extent extent) {
    off_t position = extent.begin;
    while (position < extent.end) {
        TRY(check_cancelled());
        const auto length = static_cast<std::size_t>(std::min(kPiece, extent.end - position));
        const auto copied = copy_piece(position, length);
        if (!copied && copied.error() == EINTR) continue;  // a signal that cancels nothing
        if (TRY(copied) == 0) {
            end_ = position;
            return {};
        }
        position += static_cast<off_t>(*copied);
        written_ = position;
        copied_.origin = DataOrigin::Copied;
        copied_.bytes += *copied;
        if (observer_.advanced) observer_.advanced(copied_.bytes);
    }
    return {};
}

Result<void> DataCopy::walk() {
    off_t position = 0;
    while (position < end_) {
        const Extent extent = TRY(next_extent(position));
        TRY(copy_extent(extent));
        position = extent.end;
    }
    return {};
}

Result<CopiedData> DataCopy::run() {
    if (size_ == 0) return copied_;
    TRY(check_cancelled());
    // Also of what is small: a clone need not be waited for (copy_up.cpp).
    if (TRY(clone())) return copied_;
    if (size_ <= kSmall && occupied_ >= size_) {
        TRY(copy_extent({0, size_}));
    } else {
        if (occupied_ > kPiece) TRY(check_room());
        TRY(walk());
    }
    // A trailing hole; or a target that had the source's former size.
    if (written_ != size_) TRY(sys::truncate(target_, end_));
    return copied_;
}

}  // namespace

Result<CopiedData> copy_data(int source, const Attributes& source_attributes, int target,
                             const Observer& observer) {
    return DataCopy(source, source_attributes, target, observer).run();
}

}  // namespace plyfs::copyup
