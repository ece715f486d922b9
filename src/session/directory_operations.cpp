// SPDX-License-Identifier: GPL-2.0-or-later
#include "session/directory_operations.h"

#include <dirent.h>

#include <memory>

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
    explicit Buffer(std::size_t size)
        : bytes_(std::make_unique_for_overwrite<char[]>(size)), size_(size) {}
    char* free() noexcept { return bytes_.get() + used_; }
    std::size_t room() const noexcept { return size_ - used_; }
    // False: it did not fit and nothing was taken.
    bool take(std::size_t size) noexcept {
        if (size > room()) return false;
        used_ += size;
        return true;
    }
    int send(fuse_req_t request) const { return fuse_reply_buf(request, bytes_.get(), used_); }
    bool empty() const noexcept { return used_ == 0; }

private:
    std::unique_ptr<char[]> bytes_;  // each entry fills its part to the last byte
    std::size_t size_;
    std::size_t used_ = 0;
};

bool is_dot(std::string_view name) {
    return name == "." || name == "..";
}

mode_t type_bits(unsigned char type) {
    return static_cast<mode_t>(type) << 12;
}  // DTTOIF()

// Which names of an answer to READDIRPLUS are told with attributes. Of one without, node 0, the
// kernel takes the name and looks it up when somebody asks for it.
class Telling {
public:
    enum class What : std::uint8_t {
        All,
        Name,
        Nothing,  // the answer ends before it
    };

    // `size`: bytes of the answer.
    Telling(Listers& listers, pid_t caller, std::size_t size, off_t offset)
        : listers_(listers), caller_(caller), size_(size), begins_(offset == 0) {
        // The kernel goes on with attributes only where some of the directory were asked for.
        if (!begins_) listers_.asked(caller_);
        wish_ = begins_ ? listers_.wish(caller_) : Listers::Wish::Attributes;
    }

    // `needed`: bytes that the entry takes.
    What what(const DirectoryEntry& entry, std::size_t needed) {
        switch (wish_) {
            case Listers::Wish::Attributes: break;
            // Who lists so much walks a tree, and comes to its directories.
            case Listers::Wish::Names: return entry.type == DT_DIR ? What::All : What::Name;
            case Listers::Wish::Unknown: return tried_ ? What::All : trial(entry, needed);
        }
        return What::All;
    }

    void sent() noexcept {
        if (begins_ && (tried_ || wish_ != Listers::Wish::Unknown)) listers_.listed(caller_);
    }

private:
    // "." and ".." count.
    static constexpr std::uint64_t kFewNames = 8;    // not worth a trial
    static constexpr std::uint64_t kFirstNames = 8;  // of a directory that takes several answers

    // Of several answers the first is short: how the kernel goes on tells what is wanted. Else one
    // file is told without attributes: who wants all looks it up.
    What trial(const DirectoryEntry& entry, std::size_t needed) noexcept {
        const bool large = entry.end * needed > size_;
        if (entry.end <= kFewNames || (large && entry.next <= kFirstNames)) return What::All;
        if (!large && entry.type == DT_DIR) return What::All;
        tried_ = true;
        return large ? What::Nothing : What::Name;
    }

    Listers& listers_;
    const pid_t caller_;
    const std::size_t size_;
    const bool begins_;
    Listers::Wish wish_;
    bool tried_ = false;
};

}  // namespace

void opendir(fuse_req_t request, fuse_ino_t node, fuse_file_info* info) {
    serve(request, [&](Context& context) {
        const Result<HandleId> handle = context.united.opendir(node);
        if (!handle) return reply_error(request, handle.error());
        info->fh = *handle;
        if (context.options.cache.readdir) {
            const pid_t caller = fuse_req_ctx(request)->pid;
            const ListingUse use = context.united.recall_listing(
                *handle, context.options.cache.entry,
                context.listers.wish(caller) == Listers::Wish::Attributes);
            const bool names_only = use == ListingUse::KeepNames;
            if (names_only) context.listers.listed(caller);
            info->cache_readdir = use == ListingUse::None ? 0 : 1;
            info->keep_cache = use == ListingUse::Keep || names_only ? 1 : 0;
        }
        if (fuse_reply_open(request, info) != 0) context.united.releasedir(*handle);
    });
}

void readdir(fuse_req_t request, fuse_ino_t node, std::size_t size, off_t offset,
             fuse_file_info* info) {
    serve(request, [&](Context& context) {
        Buffer buffer(size);
        struct stat listed{};  // of each in turn
        const auto visit = [&](const DirectoryEntry& entry) {
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
        Telling telling(context.listers, fuse_req_ctx(request)->pid, size, offset);
        const auto visit = [&](const DirectoryEntry& listed) {
            fuse_entry_param parameter{};
            parameter.attr.st_ino = listed.inode;
            parameter.attr.st_mode = type_bits(listed.type);
            const auto name = Name::from(listed.name);
            // An entry that does not fit must not count as a lookup: sized first.
            const std::size_t needed =
                fuse_add_direntry_plus(request, nullptr, 0, listed.name, nullptr, 0);
            if (needed > buffer.room()) return false;
            const Telling::What what = telling.what(listed, needed);
            if (what == Telling::What::Nothing) return false;
            if (what == Telling::What::All && !is_dot(listed.name) && name) {
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
        telling.sent();
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
