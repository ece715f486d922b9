// SPDX-License-Identifier: GPL-2.0-or-later
#include "session/directory_operations.h"

#include <vector>

#include "session/reply.h"
#include "union/lookups.h"

namespace plyfs::session {
namespace {

// What the kernel holds of the directory is forgotten, before the answer lets it go on.
void forget_listing(const Context& context, fuse_ino_t node) {
    fuse_lowlevel_notify_inval_inode(context.session, node, 0, 0);
}

// The bytes of one answer being filled.
class Buffer {
public:
    explicit Buffer(std::size_t size) : bytes_(size) {}
    char* free() noexcept { return bytes_.data() + used_; }
    std::size_t room() const noexcept { return bytes_.size() - used_; }
    // False: it did not fit and nothing was taken.
    bool take(std::size_t size) noexcept {
        if (size > room()) return false;
        used_ += size;
        return true;
    }
    int send(fuse_req_t request) const { return fuse_reply_buf(request, bytes_.data(), used_); }
    bool empty() const noexcept { return used_ == 0; }

private:
    std::vector<char> bytes_;
    std::size_t used_ = 0;
};

bool is_dot(std::string_view name) {
    return name == "." || name == "..";
}

mode_t type_bits(unsigned char type) {
    return static_cast<mode_t>(type) << 12;
}  // DTTOIF()

}  // namespace

void opendir(fuse_req_t request, fuse_ino_t node, fuse_file_info* info) {
    serve(request, [&](Context& context) {
        const Result<HandleId> handle = context.united.opendir(node);
        if (!handle) return reply_error(request, handle.error());
        info->fh = *handle;
        if (context.options.cache.readdir) {
            const ListingUse use =
                context.united.recall_listing(*handle, context.options.cache.entry);
            info->cache_readdir = use == ListingUse::None ? 0 : 1;
            info->keep_cache = use == ListingUse::Keep ? 1 : 0;
        }
        if (fuse_reply_open(request, info) != 0) context.united.releasedir(*handle);
    });
}

void readdir(fuse_req_t request, fuse_ino_t node, std::size_t size, off_t offset,
             fuse_file_info* info) {
    serve(request, [&](Context& context) {
        Buffer buffer(size);
        const auto visit = [&](const DirectoryEntry& entry) {
            struct stat listed{};
            listed.st_ino = entry.inode;
            listed.st_mode = type_bits(entry.type);
            return buffer.take(fuse_add_direntry(request, buffer.free(), buffer.room(), entry.name,
                                                 &listed, static_cast<off_t>(entry.next)));
        };
        const auto read =
            context.united.readdir(info->fh, static_cast<std::uint64_t>(offset), visit);
        if (read && *read) forget_listing(context, node);
        if (!read && buffer.empty()) return reply_error(request, read.error());
        buffer.send(request);
    });
}

void readdirplus(fuse_req_t request, fuse_ino_t node, std::size_t size, off_t offset,
                 fuse_file_info* info) {
    serve(request, [&](Context& context) {
        Buffer buffer(size);
        Lookups lookups(context.united);
        const auto visit = [&](const DirectoryEntry& listed) {
            fuse_entry_param parameter{};
            parameter.attr.st_ino = listed.inode;
            parameter.attr.st_mode = type_bits(listed.type);
            const auto name = Name::from(listed.name);
            // An entry that does not fit must not count as a lookup: sized first.
            const std::size_t needed =
                fuse_add_direntry_plus(request, nullptr, 0, listed.name, nullptr, 0);
            if (needed > buffer.room()) return false;
            if (!is_dot(listed.name) && name) {
                const Result<Entry> entry = lookups.lookup(node, *name);
                // Removed meanwhile: the kernel looks the name up if anybody asks.
                if (entry) parameter = to_entry(context, *entry);
            }
            return buffer.take(fuse_add_direntry_plus(request, buffer.free(), buffer.room(),
                                                      listed.name, &parameter,
                                                      static_cast<off_t>(listed.next)));
        };
        const auto read =
            context.united.readdir(info->fh, static_cast<std::uint64_t>(offset), visit);
        if (read && *read) forget_listing(context, node);
        if (!read && buffer.empty()) return reply_error(request, read.error());
        if (buffer.send(request) == 0) lookups.sent();
    });
}

void releasedir(fuse_req_t request, fuse_ino_t /*node*/, fuse_file_info* info) {
    context_of(request).united.releasedir(info->fh);
    fuse_reply_err(request, 0);
}

void fsyncdir(fuse_req_t request, fuse_ino_t node, int data_only, fuse_file_info* /*info*/) {
    serve(request, [&](Context& context) {
        reply_status(request, context.united.fsyncdir(node, data_only != 0));
    });
}

}  // namespace plyfs::session
