// SPDX-License-Identifier: GPL-2.0-or-later
//
// The inode flags of ioctl_iflags(2) in one of the two forms in which they are asked for: the word
// of FS_IOC_GETFLAGS and FS_IOC_SETFLAGS, or the struct fsxattr of FS_IOC_FSGETXATTR and
// FS_IOC_FSSETXATTR. A plain value.
#pragma once

#include <linux/fs.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "format/protection.h"
#include "sys/result.h"

namespace plyfs {

class InodeFlags {
public:
    enum class Form : std::uint8_t { Word, Extended };

    // All zero.
    explicit InodeFlags(Form form) noexcept : form_(form) {}
    // Of the file or directory that `descriptor` (not O_PATH) is open on. ENOTTY: its file system
    // has none.
    static Result<InodeFlags> read(int descriptor, Form form);
    // Errnos of the ioctl(2).
    Result<void> write(int descriptor) const;

    Form form() const noexcept { return form_; }
    // As a caller hands it over.
    std::span<std::byte> bytes() noexcept { return std::span(bytes_).first(size()); }
    std::span<const std::byte> bytes() const noexcept { return std::span(bytes_).first(size()); }

    format::Protection protection() const noexcept;
    void set_protection(const format::Protection& protection) noexcept;
    // A copy of this with those flags of `to` in which it differs from `from`. All three have one
    // form. What the extended form has beside flags (project, extent sizes) is that of `to`.
    InodeFlags changed(const InodeFlags& from, const InodeFlags& to) const noexcept;

private:
    std::size_t size() const noexcept {
        return form_ == Form::Word ? sizeof(std::uint32_t) : sizeof(struct fsxattr);
    }
    // Both forms begin with their flags.
    std::uint32_t word() const noexcept;
    void set_word(std::uint32_t word) noexcept;

    Form form_;
    std::array<std::byte, sizeof(struct fsxattr)> bytes_{};
};

// What a caller asks for who has seen `shown`. A flag that stays the same is none of his business:
// it may be one that only the file system of a layer knows, or that says how a file is stored there
// (EXT4_EXTENTS_FL: without it ext4 would begin to convert the file).
struct FlagChange {
    InodeFlags shown;
    InodeFlags wanted;

    InodeFlags applied_to(const InodeFlags& flags) const noexcept {
        return flags.changed(shown, wanted);
    }
};

}  // namespace plyfs
