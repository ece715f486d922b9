// SPDX-License-Identifier: GPL-2.0-or-later
#include "core/driven_union.h"

#include <unistd.h>

#include <algorithm>
#include <catch2/catch_test_macros.hpp>

#include "sys/credentials.h"
#include "sys/data.h"

namespace plyfs::test {
namespace {

// Within `path`.
const char* last_name(const std::string& path) {
    const std::size_t slash = path.rfind('/');
    return path.c_str() + (slash == std::string::npos ? 0 : slash + 1);
}

std::string_view parent_path(std::string_view path) {
    const std::size_t slash = path.rfind('/');
    return slash == std::string_view::npos ? std::string_view() : path.substr(0, slash);
}

}  // namespace

config::PolicyOptions policies(config::Policy create, config::Policy search,
                               config::Policy action) {
    config::PolicyOptions options;
    options.create = create;
    options.search = search;
    options.action = action;
    return options;
}

DrivenUnion::DrivenUnion(const std::vector<BranchSpec>& branches, config::PolicyOptions chosen,
                         std::size_t open_directories)
    : specs_(branches), policies_(std::move(chosen)), open_directories_(open_directories) {
    if (::geteuid() != 0) SKIP("needs root");
    static const bool prepared = sys::prepare_serving_thread().has_value();
    REQUIRE(prepared);
    for (BranchSpec& spec : specs_) {
        if (!spec.path.empty()) continue;
        directories_.push_back(std::make_unique<ScratchDirectory>());
        spec.path = directories_.back()->path();
    }
    union_ = make_union();
}

DrivenUnion::~DrivenUnion() {
    if (!union_) return;
    forget_all();
    const UnionCounts left = counts();
    CHECK(left.nodes == 1);
    CHECK(left.files == 0);
    CHECK(left.directories == 0);
}

std::unique_ptr<Union> DrivenUnion::make_union() {
    const MountId mount = make_mount_id().value();
    BranchSet set;
    for (const BranchSpec& spec : specs_) {
        config::BranchOptions options;
        options.path = spec.path;
        options.mode = spec.mode;
        options.min_free_space = spec.min_free_space;
        auto branch = Branch::open(options, 0, mount);
        REQUIRE(code(branch) == 0);
        set.push_back(*std::move(branch));
    }
    UnionOptions options;
    options.policies = policies_;
    options.open_directories = open_directories_;
    options.warn = [this](std::string_view text) { warnings.emplace_back(text); };
    if (adjust_) adjust_(options);
    return std::make_unique<Union>(std::move(set), std::move(options));
}

void DrivenUnion::remount() {
    forget_all();
    CHECK(counts().nodes == 1);
    union_.reset();
    union_ = make_union();
}

void DrivenUnion::remount(std::function<void(UnionOptions&)> adjust) {
    adjust_ = std::move(adjust);
    remount();
}

std::string DrivenUnion::host(std::size_t branch, const std::string& path) const {
    return specs_[branch].path + (path.empty() ? "" : "/") + path;
}

Result<Entry> DrivenUnion::look(std::string_view path) {
    Entry entry{kRootNode, {}};
    if (path.empty()) {
        entry.attributes = TRY(union_->getattr(kRootNode));
        return entry;
    }
    while (!path.empty()) {
        const std::size_t slash = path.find('/');
        const std::string name(path.substr(0, slash));
        path = slash == std::string_view::npos ? std::string_view() : path.substr(slash + 1);
        entry = TRY(union_->lookup(entry.node, TRY(Name::from(name))));
        remember(entry.node);
    }
    return entry;
}

void DrivenUnion::forget_all() {
    for (const auto& [node, count] : remembered_) union_->forget(node, count);
    remembered_.clear();
}

Result<DrivenUnion::Target> DrivenUnion::target(const std::string& path) {
    const Name name = TRY(Name::from(last_name(path)));
    const Entry parent = TRY(look(parent_path(path)));
    if (!parent.attributes.is_directory() && parent.node != kRootNode) return fail(ENOTDIR);
    return Target{parent.node, name};
}

int DrivenUnion::made(const Result<Entry>& entry) {
    if (entry) remember(entry->node);
    return code(entry);
}

int DrivenUnion::mkdir(const std::string& path, mode_t mode) {
    const auto at = target(path);
    return at ? made(union_->mkdir(request(), at->parent, at->name, mode)) : code(at);
}

int DrivenUnion::mknod(const std::string& path, mode_t mode, dev_t device) {
    const auto at = target(path);
    return at ? made(union_->mknod(request(), at->parent, at->name, mode, device)) : code(at);
}

int DrivenUnion::symlink(const std::string& destination, const std::string& path) {
    const auto at = target(path);
    if (!at) return code(at);
    return made(union_->symlink(request(), at->parent, at->name, destination.c_str()));
}

int DrivenUnion::link(const std::string& path, const std::string& new_path) {
    const auto old = look(path);
    if (!old) return code(old);
    const auto at = target(new_path);
    return at ? made(union_->link(request(), old->node, at->parent, at->name)) : code(at);
}

int DrivenUnion::unlink(const std::string& path) {
    const auto at = target(path);
    return at ? code(union_->unlink(request(), at->parent, at->name)) : code(at);
}

int DrivenUnion::rmdir(const std::string& path) {
    const auto at = target(path);
    return at ? code(union_->rmdir(request(), at->parent, at->name)) : code(at);
}

int DrivenUnion::rename(const std::string& path, const std::string& new_path, unsigned flags) {
    const auto from = target(path);
    if (!from) return code(from);
    const auto to = target(new_path);
    if (!to) return code(to);
    return code(union_->rename(request(), from->parent, from->name, to->parent, to->name, flags));
}

int DrivenUnion::change(const std::string& path, const AttributeChange& change) {
    const auto entry = look(path);
    return entry ? code(union_->setattr(request(), entry->node, change)) : code(entry);
}

int DrivenUnion::chmod(const std::string& path, mode_t mode) {
    AttributeChange wanted;
    wanted.mode = mode;
    return change(path, wanted);
}

int DrivenUnion::set_xattr(const std::string& path, const std::string& name, std::string_view value,
                           int flags) {
    const auto entry = look(path);
    if (!entry) return code(entry);
    return code(union_->setxattr(request(), entry->node, name.c_str(),
                                 std::as_bytes(std::span(value)), flags, true));
}

int DrivenUnion::remove_xattr(const std::string& path, const std::string& name) {
    const auto entry = look(path);
    return entry ? code(union_->removexattr(request(), entry->node, name.c_str())) : code(entry);
}

int DrivenUnion::write(const std::string& path, std::string_view bytes, mode_t mode) {
    OpenedFile file;
    if (auto made_file = create(path, O_RDWR, mode)) {
        file = std::move(made_file->opened);
    } else {
        if (made_file.error() != EEXIST) return code(made_file);
        auto opened = open(path, O_RDWR | O_TRUNC);
        if (!opened) return code(opened);
        file = *std::move(opened);
    }
    const auto written =
        sys::write_at(file.file->descriptor.get(), std::as_bytes(std::span(bytes)), 0);
    union_->release(file.handle);
    return code(written);
}

Result<Attributes> DrivenUnion::stat(const std::string& path) {
    return TRY(look(path)).attributes;
}

Result<std::string> DrivenUnion::read(const std::string& path) {
    const OpenedFile file = TRY(open(path, O_RDONLY));
    std::string bytes = contents(file);
    union_->release(file.handle);
    return bytes;
}

Result<std::string> DrivenUnion::read_link(const std::string& path) {
    return union_->readlink(TRY(look(path)).node);
}

Result<std::string> DrivenUnion::xattr(const std::string& path, const std::string& name) {
    const NodeId node = TRY(look(path)).node;
    std::string value(TRY(union_->getxattr(node, name.c_str(), {})), '\0');
    value.resize(
        TRY(union_->getxattr(node, name.c_str(), std::as_writable_bytes(std::span(value)))));
    return value;
}

Result<std::vector<std::string>> DrivenUnion::xattrs(const std::string& path) {
    const NodeId node = TRY(look(path)).node;
    std::string list(TRY(union_->listxattr(node, {})), '\0');
    list.resize(TRY(union_->listxattr(node, std::as_writable_bytes(std::span(list)))));
    std::vector<std::string> found;
    for (std::size_t at = 0; at < list.size(); at += found.back().size() + 1) {
        found.emplace_back(list.c_str() + at);
    }
    return found;
}

Result<std::vector<Listed>> DrivenUnion::read_directory(HandleId handle, std::uint64_t offset) {
    std::vector<Listed> found;
    (void)TRY(union_->readdir(handle, offset, [&](const DirectoryEntry& entry) {
        found.push_back({std::string(entry.name), entry.inode, entry.type, entry.next});
        return true;
    }));
    return found;
}

Result<std::vector<Listed>> DrivenUnion::list(const std::string& path) {
    const HandleId handle = TRY(union_->opendir(TRY(look(path)).node));
    auto found = read_directory(handle);
    union_->releasedir(handle);
    if (found) {
        std::erase_if(*found,
                      [](const Listed& one) { return one.name == "." || one.name == ".."; });
    }
    return found;
}

std::vector<std::string> DrivenUnion::names(const std::string& path) {
    const auto listed = list(path);
    REQUIRE(code(listed) == 0);
    std::vector<std::string> found;
    for (const Listed& one : *listed) found.push_back(one.name);
    std::ranges::sort(found);
    return found;
}

Result<OpenedFile> DrivenUnion::open(const std::string& path, int flags) {
    return union_->open(request(), TRY(look(path)).node, flags, false);
}

Result<CreatedFile> DrivenUnion::create(const std::string& path, int flags, mode_t mode) {
    const Target at = TRY(target(path));
    auto file = union_->create(request(), at.parent, at.name, mode, flags);
    if (file) remember(file->entry.node);
    return file;
}

Result<CreatedFile> DrivenUnion::tmpfile(const std::string& directory, int flags, mode_t mode) {
    auto file = union_->tmpfile(request(), TRY(look(directory)).node, mode, flags);
    if (file) remember(file->entry.node);
    return file;
}

std::string contents(const OpenedFile& file) {
    const int descriptor = file.file->descriptor.get();
    struct stat status{};
    REQUIRE(::fstat(descriptor, &status) == 0);
    std::string bytes(static_cast<std::size_t>(status.st_size), '\0');
    const auto size = sys::read_at(descriptor, std::as_writable_bytes(std::span(bytes)), 0);
    REQUIRE(size.has_value());
    bytes.resize(*size);
    return bytes;
}

}  // namespace plyfs::test
