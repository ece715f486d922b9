// SPDX-License-Identifier: GPL-2.0-or-later
//
// Reading a directory with getdents64(2), a buffer at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "sys/result.h"
#include "sys/unique_fd.h"

namespace plyfs::sys {

// One name as the file system gives it. `name` is valid until the reader reads on; "." and ".."
// are left out. `type` is a DT_* of <dirent.h>, DT_UNKNOWN where the file system does not say.
struct RawEntry {
    const char* name;
    std::uint64_t inode;
    unsigned char type;
};

// Owns a descriptor of the directory, opened for reading. Not thread-safe.
class DirectoryReader {
public:
    // Opens `directory` (O_PATH will do) anew: a position of its own. `spare_access_time`: reading
    // leaves it, where that may be asked for.
    static Result<DirectoryReader> open(int directory, bool spare_access_time = false);

    // Reads on. False at the end; then, and after an error, there is nothing more to read.
    Result<bool> fill();

    // The last fill() brought so little that another one most likely ends it.
    bool nearly_ended() const noexcept { return filled_ < buffer_.size() / 2; }

    // Calls visit(const RawEntry&) for each name of the last fill().
    template <typename Visit>
    void for_each(Visit&& visit) const {
        for (std::size_t at = 0; at < filled_;) at = next(at, visit);
    }

private:
    explicit DirectoryReader(UniqueFd descriptor);

    template <typename Visit>
    std::size_t next(std::size_t at, Visit& visit) const {
        // struct linux_dirent64 of getdents64(2): u64 ino, s64 off, u16 size, u8 type, name.
        const char* const record = buffer_.data() + at;
        std::uint16_t size = 0;
        RawEntry entry{record + 19, 0, static_cast<unsigned char>(record[18])};
        __builtin_memcpy(&entry.inode, record, sizeof entry.inode);
        __builtin_memcpy(&size, record + 16, sizeof size);
        const std::string_view name(entry.name);
        if (name != "." && name != "..") visit(static_cast<const RawEntry&>(entry));
        return at + size;
    }

    UniqueFd descriptor_;
    std::vector<char> buffer_;
    std::size_t filled_ = 0;  // bytes
};

// Whether `directory` (O_PATH will do) holds no name for which `counts(name)` is true.
template <typename Counts>
Result<bool> is_empty(int directory, Counts&& counts) {
    DirectoryReader reader = TRY(DirectoryReader::open(directory));
    bool empty = true;
    while (empty && TRY(reader.fill())) {
        reader.for_each([&](const RawEntry& entry) {
            if (counts(std::string_view(entry.name))) empty = false;
        });
    }
    return empty;
}

}  // namespace plyfs::sys
