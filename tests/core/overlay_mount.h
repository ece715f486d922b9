// SPDX-License-Identifier: GPL-2.0-or-later
//
// A mount of the kernel's overlayfs, to hold our reading and writing of its marks against: a lower,
// an upper and a work directory on a small file system of their own. Seen by the test program only,
// gone with the object.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/scratch_file_system.h"
#include "format/handle_record.h"
#include "sys/unique_fd.h"

namespace plyfs::test {

class OverlayMount {
public:
    // Makes the directories `lower`, `upper`, `work` and `merged`; mounts nothing. Skips the test
    // where mounting is impossible.
    explicit OverlayMount(FileSystemKind kind = FileSystemKind::Tmpfs);
    ~OverlayMount();
    OverlayMount(const OverlayMount&) = delete;
    OverlayMount& operator=(const OverlayMount&) = delete;

    // `options` beside the directories, "redirect_dir=on,index=on". Returns the errno, 0: mounted.
    int try_mount(const std::string& options = {});
    void mount(const std::string& options = {});
    // Without an upper: `layers` from the top down, names of directories of the file system.
    void mount_layers(const std::string& layers, const std::string& options = {});
    void unmount();

    // The host's path of a path of the file system, "upper/file".
    std::string path(std::string_view relative) const;
    // O_PATH, a symlink itself.
    UniqueFd open(std::string_view relative) const;

    void make_directory(std::string_view relative) const;
    void make_file(std::string_view relative, std::string_view bytes = "bytes") const;

    // Names of a directory, sorted.
    std::vector<std::string> names(std::string_view relative) const;

    format::Uuid uuid() const;

private:
    ScratchFileSystem file_system_;
    bool mounted_ = false;
};

// What leads to `object` of the file system, as an origin or an index has it.
format::HandleRecord record_of(const OverlayMount& layers, const std::string& object,
                               bool upper = false);

}  // namespace plyfs::test
