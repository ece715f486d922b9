// SPDX-License-Identifier: GPL-2.0-or-later
//
// Extended attributes, POSIX ACLs among them (system.posix_acl_*).
#include <fcntl.h>

#include <algorithm>
#include <cstring>

#include "format/escape.h"
#include "sys/metadata.h"
#include "sys/open.h"
#include "sys/statx.h"
#include "union/union.h"

namespace plyfs {

Result<UniqueFd> Union::open_shown(const Node& node) const {
    if (!node.is_directory()) return open_object(node, O_PATH);
    for (const BranchIndex branch : nodes_.stack(node)) {
        if (const auto directory = open_directory(node, branch)) {
            return sys::duplicate((*directory)->get());
        }
    }
    const Location location = nodes_.location(node);
    if (!location.held) return fail(ESTALE);
    return sys::duplicate(location.held->get());
}

Result<std::size_t> Union::getxattr(NodeId id, const char* name, std::span<std::byte> value) {
    if (!options_.xattrs) return fail(ENOTSUP);
    const NodeRef node = TRY(this->node(id));
    const SharedLock lock(node->mutex);
    const UniqueFd object = TRY(open_shown(*node));
    return sys::get_xattr(object.get(), TRY(stored_xattr(name)).c_str(), value);
}

Result<std::size_t> Union::listxattr(NodeId id, std::span<std::byte> names) {
    if (!options_.xattrs) return fail(ENOTSUP);
    const NodeRef node = TRY(this->node(id));
    const SharedLock lock(node->mutex);
    const UniqueFd object = TRY(open_shown(*node));
    if (!layered_) return sys::list_xattrs(object.get(), names);
    std::size_t size = 0;
    for (const std::string& name :
         format::shown_xattr_names(TRY(sys::xattr_names(object.get())), options_.marks)) {
        const std::span<const std::byte> bytes =
            std::as_bytes(std::span(name.c_str(), name.size() + 1));
        if (!names.empty()) {
            if (bytes.size() > names.size() - size) return fail(ERANGE);
            std::ranges::copy(bytes, names.begin() + static_cast<std::ptrdiff_t>(size));
        }
        size += bytes.size();
    }
    return size;
}

Result<std::string> Union::stored_xattr(const char* name) const {
    if (!layered_) return std::string(name);
    return format::stored_xattr_name(name, options_.marks);
}

Result<void> Union::setxattr(const Request& request, NodeId id, const char* name,
                             std::span<const std::byte> value, int flags, bool keep_set_id) {
    if (!options_.xattrs) return fail(ENOTSUP);
    TRY(request.journal.begin("setxattr"));
    const NodeRef node = TRY(this->node(id));
    const std::string stored = TRY(stored_xattr(name));
    TRY(check_attributes(*node));
    TRY(copy_up(request, node, CopyNeed::Attributes));
    const SharedLock lock(node->mutex);
    // Setting an ACL takes SGID away from who is not in the file's group: the daemon never is.
    const sys::KeepSetId keep(keep_set_id && std::strcmp(name, "system.posix_acl_access") == 0);
    const std::vector<OpenCopy> copies = TRY(open_copies(*node, config::Function::Setxattr));
    for (const OpenCopy& copy : copies) {
        // Whether the attribute must or must not exist is a question to the first one.
        TRY(sys::set_xattr(copy.object.get(), stored.c_str(), value,
                           &copy == &copies.front() ? flags : 0));
    }
    return {};
}

Result<void> Union::removexattr(const Request& request, NodeId id, const char* name) {
    if (!options_.xattrs) return fail(ENOTSUP);
    TRY(request.journal.begin("removexattr"));
    const NodeRef node = TRY(this->node(id));
    const std::string stored = TRY(stored_xattr(name));
    TRY(check_attributes(*node));
    TRY(copy_up(request, node, CopyNeed::Attributes));
    const SharedLock lock(node->mutex);
    const std::vector<OpenCopy> copies = TRY(open_copies(*node, config::Function::Removexattr));
    for (const OpenCopy& copy : copies) {
        const auto removed = sys::remove_xattr(copy.object.get(), stored.c_str());
        if (!removed && (removed.error() != ENODATA || &copy == &copies.front())) return removed;
    }
    return {};
}

}  // namespace plyfs
