// SPDX-License-Identifier: GPL-2.0-or-later
#include "session/init_flags.h"

#include <cstddef>
#include <cstring>

namespace plyfs::session {
namespace {

// The last two words of fuse_init_in and fuse_init_out, which Linux has as unused.
struct Provisional {
    std::uint32_t magic;
    std::uint32_t flags;  // bits 32 to 63, shifted down
};
constexpr std::size_t kProvisionalAt = 56;
static_assert(sizeof(fuse_init_in) == kProvisionalAt + sizeof(Provisional));
static_assert(sizeof(fuse_init_out) == kProvisionalAt + sizeof(Provisional));

constexpr std::uint32_t kProvisionalMagic = 0x9ac3f5e1;

}  // namespace

std::uint64_t offered_init_flags(const fuse_init_in& init) noexcept {
    const std::uint64_t allocated = init.flags | (std::uint64_t{init.flags2} << 32);
    Provisional provisional{};
    std::memcpy(&provisional, reinterpret_cast<const char*>(&init) + kProvisionalAt,
                sizeof provisional);
    const std::uint64_t ours =
        provisional.magic == kProvisionalMagic ? std::uint64_t{provisional.flags} << 32 : 0;
    return (allocated & ~kProvisionalInitFlags) | (ours & kProvisionalInitFlags);
}

void add_init_flags(fuse_init_out& init, std::uint64_t flags) noexcept {
    const std::uint64_t allocated = flags & ~kProvisionalInitFlags;
    init.flags |= static_cast<std::uint32_t>(allocated);
    init.flags2 |= static_cast<std::uint32_t>(allocated >> 32);
    if (init.flags2 != 0) init.flags |= FUSE_INIT_EXT;
    if (allocated == flags) return;
    const Provisional provisional{
        kProvisionalMagic, static_cast<std::uint32_t>((flags & kProvisionalInitFlags) >> 32)};
    std::memcpy(reinterpret_cast<char*>(&init) + kProvisionalAt, &provisional, sizeof provisional);
}

}  // namespace plyfs::session
