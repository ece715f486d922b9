// SPDX-License-Identifier: GPL-2.0-or-later
#include "union/inode_flags.h"

#include <cstring>

#include "sys/data.h"

namespace plyfs {
namespace {

struct Bits {
    std::uint32_t append;
    std::uint32_t immutable;
};

Bits bits_of(InodeFlags::Form form) noexcept {
    if (form == InodeFlags::Form::Word) return {FS_APPEND_FL, FS_IMMUTABLE_FL};
    return {FS_XFLAG_APPEND, FS_XFLAG_IMMUTABLE};
}

}  // namespace

Result<InodeFlags> InodeFlags::read(int descriptor, Form form) {
    InodeFlags flags(form);
    if (form == Form::Word) {
        flags.set_word(TRY(sys::inode_flags(descriptor)));
    } else {
        TRY(sys::extended_flags(descriptor, flags.bytes()));
    }
    return flags;
}

Result<void> InodeFlags::write(int descriptor) const {
    if (form_ == Form::Word) return sys::set_inode_flags(descriptor, word());
    return sys::set_extended_flags(descriptor, bytes());
}

format::Protection InodeFlags::protection() const noexcept {
    const Bits bits = bits_of(form_);
    return {.append = (word() & bits.append) != 0, .immutable = (word() & bits.immutable) != 0};
}

void InodeFlags::set_protection(const format::Protection& protection) noexcept {
    const Bits bits = bits_of(form_);
    set_word((word() & ~(bits.append | bits.immutable)) | (protection.append ? bits.append : 0) |
             (protection.immutable ? bits.immutable : 0));
}

InodeFlags InodeFlags::changed(const InodeFlags& from, const InodeFlags& to) const noexcept {
    const std::uint32_t mask = from.word() ^ to.word();
    InodeFlags result = to;
    result.set_word((word() & ~mask) | (to.word() & mask));
    return result;
}

std::uint32_t InodeFlags::word() const noexcept {
    std::uint32_t word = 0;
    std::memcpy(&word, bytes_.data(), sizeof word);
    return word;
}

void InodeFlags::set_word(std::uint32_t word) noexcept {
    std::memcpy(bytes_.data(), &word, sizeof word);
}

}  // namespace plyfs
