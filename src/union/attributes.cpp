// SPDX-License-Identifier: GPL-2.0-or-later
//
// getattr, setattr and readlink.
#include <fcntl.h>

#include <chrono>

#include "sys/entry.h"
#include "sys/metadata.h"
#include "sys/open.h"
#include "sys/statx.h"
#include "union/union.h"

namespace plyfs {
namespace {

Result<void> change_object(int descriptor, const AttributeChange& change) {
    // The size first: it clears SUID and SGID, which a mode given along sets anew. Then the owner,
    // which clears them too, then the mode, then the times, which all of these touch.
    if (change.size) {
        const sys::KeepSetId keep(!change.drop_set_id);
        TRY(sys::truncate(descriptor, *change.size));
    }
    if (change.uid || change.gid) {
        TRY(sys::change_owner(descriptor, change.uid.value_or(static_cast<uid_t>(-1)),
                              change.gid.value_or(static_cast<gid_t>(-1))));
    }
    if (change.mode) {
        // Who may set SGID was decided by the kernel (setattr_prepare); the daemon is in no group.
        const sys::KeepSetId keep((*change.mode & S_ISGID) != 0);
        TRY(sys::change_mode(descriptor, *change.mode & 07777));
    }
    if (change.access_time || change.modification_time) {
        constexpr timespec kOmit{0, UTIME_OMIT};
        TRY(sys::change_times(descriptor, change.access_time.value_or(kOmit),
                              change.modification_time.value_or(kOmit)));
    }
    return {};
}

config::Function function_of(const AttributeChange& change) {
    if (change.size) return config::Function::Truncate;
    if (change.mode) return config::Function::Chmod;
    if (change.uid || change.gid) return config::Function::Chown;
    return config::Function::Utimens;
}

}  // namespace

Result<Attributes> Union::directory_attributes(const Node& node) const {
    boost::container::small_vector<Attributes, 4> found;
    std::size_t writable = 0;
    Errno failure(ESTALE);
    for (const BranchIndex branch : nodes_.stack(node)) {
        const auto directory = open_directory(node, branch);
        auto attributes =
            directory ? sys::stat_descriptor((*directory)->get()) : fail(directory.error());
        if (!attributes) {
            if (!is_absent(attributes.error())) failure = attributes.error();
            continue;
        }
        attributes->inode = TRY(inode_of(*attributes, (*directory)->get()));
        found.push_back(*attributes);
        if (!is_lower(branch)) ++writable;
    }
    if (!found.empty()) return merge({found.data(), found.size()}, writable);
    const Location location = nodes_.location(node);
    if (!location.held) return fail(failure);
    Attributes attributes = TRY(sys::stat_descriptor(location.held->get()));
    attributes.inode = TRY(inode_of(attributes, location.held->get()));
    return attributes;
}

Result<Attributes> Union::as_shown(const Node& node, Attributes attributes) const {
    if (!layered_) return attributes;
    const std::uint64_t inode = nodes_.shown_inode(node);
    if (inode != 0 && inode != kOwnInode) attributes.inode = inode;
    const std::string entry = nodes_.index_entry(node);
    if (!entry.empty()) TRY(count_indexed(entry, nodes_.stack(node).front(), attributes));
    show_blocks(node, attributes);
    return attributes;
}

Result<Attributes> Union::object_attributes(const Node& node) const {
    const Location location = nodes_.location(node);
    if (location.held) {
        Attributes attributes = TRY(sys::stat_descriptor(location.held->get()));
        attributes.inode = TRY(inode_of(attributes, location.held->get()));
        return as_shown(node, attributes);
    }
    Errno failure(ESTALE);
    for (const NodeName& place : location.names) {
        const auto name = Name::from(place.name);
        const auto directory = open_directory(*place.parent, location.stack.front());
        if (!directory && !is_absent(directory.error())) failure = directory.error();
        if (!name || !directory) continue;
        auto attributes = sys::stat_at((*directory)->get(), *name);
        if (!attributes) {
            if (attributes.error() == ENOENT) continue;
            return attributes;
        }
        if (attributes->real != location.real) continue;
        attributes->inode =
            TRY(inode_of(*attributes, *name, (*directory)->get(), location.stack.front()));
        return as_shown(node, *attributes);
    }
    if (const UniqueFd indexed = TRY(open_indexed(node, location, O_PATH))) {
        Attributes attributes = TRY(sys::stat_descriptor(indexed.get()));
        attributes.inode = TRY(inode_of(attributes, indexed.get()));
        return as_shown(node, attributes);
    }
    return fail(failure);
}

Result<Attributes> Union::getattr(NodeId id, HandleId handle) {
    const NodeRef own = TRY(own_node(id));
    const NodeRef successor = nodes_.successor(*own);
    const NodeRef& node = successor ? successor : own;
    if (const auto kept = successor ? nodes_.snapshot(*own) : nullptr) {
        // Its readers keep the content; all else is the file's as it is now.
        const Attributes was = TRY(sys::stat_descriptor(kept->object.get()));
        const SharedLock lock(node->mutex);
        Attributes attributes = TRY(object_attributes(*node));
        attributes.size = was.size;
        attributes.blocks = was.blocks;
        attributes.modification_time = was.modification_time;
        return attributes;
    }
    const auto open_file = handle == 0 ? nullptr : files_.find(handle);
    // Else it was copied up since, or its data alone are open.
    if (open_file && open_file->real == nodes_.real(*node)) {
        const int descriptor = open_file->descriptor.get();
        Attributes attributes = TRY(sys::stat_descriptor(descriptor));
        attributes.inode = TRY(inode_of(attributes, descriptor));
        return as_shown(*node, attributes);
    }
    const SharedLock lock(node->mutex);
    return node->is_directory() ? directory_attributes(*node) : object_attributes(*node);
}

Result<Attributes> Union::setattr(const Request& request, NodeId id, const AttributeChange& change,
                                  HandleId handle) {
    TRY(request.journal.begin("setattr"));
    const NodeRef node = TRY(this->node(id));
    const CopyNeed need = !change.size        ? CopyNeed::Attributes
                          : *change.size == 0 ? CopyNeed::Truncated
                                              : CopyNeed::Data;
    TRY(check_change(*node, change, handle));
    TRY(copy_up(request, node, need));
    turned_away_.moved_on(request.thread, id);
    if (change.size) TRY(part_from_readers(request, node));
    {
        const SharedLock lock(node->mutex);
        const auto open_file = handle == 0 ? nullptr : files_.find(handle);
        if (open_file && change.size && (open_file->flags & O_ACCMODE) != O_RDONLY) {
            // ftruncate(2): the file that is open, whatever has become of its name.
            TRY(change_object(open_file->descriptor.get(), change));
        } else {
            for (const OpenCopy& copy : TRY(open_copies(*node, function_of(change)))) {
                TRY(change_object(copy.object.get(), change));
            }
        }
    }
    return getattr(id, handle);
}

Result<std::string> Union::readlink(NodeId id) {
    const NodeRef node = TRY(this->node(id));
    const SharedLock lock(node->mutex);
    const UniqueFd object = TRY(open_object(*node, O_PATH));
    return sys::read_link(object.get());
}

bool Union::is_settled(const Attributes& attributes, BranchIndex branch) const {
    const Branch& of = *branches_[branch];
    if (of.fine_times() && attributes.real.device == of.device()) return true;
    const auto changed = std::chrono::seconds(attributes.change_time.seconds) +
                         std::chrono::nanoseconds(attributes.change_time.nanoseconds);
    return std::chrono::system_clock::now().time_since_epoch() - changed >= options_.tick;
}

}  // namespace plyfs
