// SPDX-License-Identifier: GPL-2.0-or-later
#include "union/branch_id.h"

#include <array>
#include <cstddef>
#include <tuple>

#include "sys/entry.h"
#include "sys/metadata.h"
#include "sys/small_file.h"

namespace plyfs {
namespace {

constexpr char kDigits[] = "0123456789abcdef";

}  // namespace

bool is_id(std::string_view text) {
    return text.size() == kIdDigits && text.find_first_not_of(kDigits) == std::string_view::npos;
}

Result<MountId> make_mount_id() {
    std::array<std::byte, kIdDigits / 2> bytes{};
    TRY(sys::random_bytes(bytes));
    MountId id;
    for (const std::byte byte : bytes) {
        id += kDigits[std::to_integer<unsigned>(byte >> 4)];
        id += kDigits[std::to_integer<unsigned>(byte & std::byte{15})];
    }
    return id;
}

Result<BranchId> read_branch_id(int directory) {
    BranchId id = TRY(sys::read_small_file(directory, TRY(Name::from("id")), 2 * kIdDigits));
    while (id.ends_with('\n')) id.pop_back();
    if (!is_id(id)) return fail(ENOENT);
    return id;
}

Result<BranchId> read_or_make_branch_id(int home, int directory) {
    auto id = read_branch_id(directory);
    if (id || id.error() != ENOENT) return id;
    // The branch's default ACL and setgid bit are for its users' files, not for ours. EOPNOTSUPP,
    // ENODATA: there is none.
    std::ignore = sys::remove_xattr(directory, "system.posix_acl_default");
    TRY(sys::change_mode(directory, 0700));
    id = TRY(make_mount_id());
    const Name temporary = TRY(Name::from("id.new"));
    const auto cleared = sys::remove_name(directory, temporary);
    if (!cleared && cleared.error() != ENOENT) return fail(cleared.error());
    TRY(sys::write_new_file(directory, temporary, *id + "\n", 0600));
    TRY(sys::rename(directory, temporary, directory, TRY(Name::from("id")), 0));
    TRY(sys::synchronize_directory(directory));
    TRY(sys::synchronize_directory(home));
    return id;
}

}  // namespace plyfs
