// SPDX-License-Identifier: GPL-2.0-or-later
//
// Every operation that is served, and where its code is. What is missing on purpose: access (the
// kernel checks permissions itself), flush but for locks on the branch, poll and bmap.
#include "session/operations.h"

#include "session/attribute_operations.h"
#include "session/directory_operations.h"
#include "session/entry_operations.h"
#include "session/features.h"
#include "session/file_operations.h"
#include "session/lock_operations.h"

namespace plyfs::session {

fuse_lowlevel_ops operations(const config::Options& options) {
    fuse_lowlevel_ops table{};
    table.init = &negotiate;

    table.lookup = &lookup;
    table.forget = &forget;
    table.forget_multi = &forget_multi;
    table.mknod = &mknod;
    table.mkdir = &mkdir;
    table.symlink = &symlink;
    table.link = &link;
    table.unlink = &unlink;
    table.rmdir = &rmdir;
    table.rename = &rename;
    table.readlink = &readlink;

    table.getattr = &getattr;
    table.setattr = &setattr;
#if FUSE_USE_VERSION >= 318
    table.statx = &statx;
#endif
    table.getxattr = &getxattr;
    table.listxattr = &listxattr;
    table.setxattr = &setxattr;
    table.removexattr = &removexattr;
    table.statfs = &statfs;

    table.open = &open;
    table.create = &create;
    table.tmpfile = &tmpfile;
    table.release = &release;
    table.read = &read;
    table.write = &write;
    table.fallocate = &fallocate;
    table.copy_file_range = &copy_file_range;
    table.lseek = &lseek;
    table.ioctl = &ioctl;

    table.opendir = &opendir;
    table.readdir = &readdir;
    table.readdirplus = &readdirplus;
    table.releasedir = &releasedir;

    // Without them the kernel answers fsync(2) by success, and asks no more.
    if (!options.is_volatile) {
        table.fsync = &fsync;
        table.fsyncdir = &fsyncdir;
    }
    if (options.locks == config::LockScope::Branch) {
        table.flush = &flush;
        table.getlk = &getlk;
        table.setlk = &setlk;
        table.flock = &flock;
    }
    return table;
}

}  // namespace plyfs::session
