// SPDX-License-Identifier: GPL-2.0-or-later
#include "config/names.h"

namespace plyfs::config {

std::span<const Named<BranchMode>> branch_mode_names() {
    static constexpr Named<BranchMode> kNames[] = {
        {"rw", BranchMode::ReadWrite},
        {"nc", BranchMode::NoCreate},
        {"ro", BranchMode::ReadOnly},
    };
    return kNames;
}

std::span<const Named<Policy>> policy_names() {
    static constexpr Named<Policy> kNames[] = {
        {"all", Policy::All},     {"epall", Policy::EpAll},   {"epff", Policy::EpFf},
        {"epmfs", Policy::EpMfs}, {"eprand", Policy::EpRand}, {"ff", Policy::Ff},
        {"lfs", Policy::Lfs},     {"mfs", Policy::Mfs},       {"newest", Policy::Newest},
        {"pfrd", Policy::Pfrd},   {"rand", Policy::Rand},
    };
    return kNames;
}

std::span<const Named<Function>> function_names() {
    static constexpr Named<Function> kNames[] = {
        {"create", Function::Create},     {"mkdir", Function::Mkdir},
        {"mknod", Function::Mknod},       {"symlink", Function::Symlink},
        {"access", Function::Access},     {"getattr", Function::Getattr},
        {"getxattr", Function::Getxattr}, {"listxattr", Function::Listxattr},
        {"open", Function::Open},         {"readlink", Function::Readlink},
        {"chmod", Function::Chmod},       {"chown", Function::Chown},
        {"link", Function::Link},         {"removexattr", Function::Removexattr},
        {"rename", Function::Rename},     {"rmdir", Function::Rmdir},
        {"setxattr", Function::Setxattr}, {"truncate", Function::Truncate},
        {"unlink", Function::Unlink},     {"utimens", Function::Utimens},
    };
    return kNames;
}

std::span<const Named<WhiteoutForm>> whiteout_form_names() {
    static constexpr Named<WhiteoutForm> kNames[] = {
        {"auto", WhiteoutForm::Auto},
        {"device", WhiteoutForm::Device},
        {"xattr", WhiteoutForm::Xattr},
        {"dot", WhiteoutForm::Dot},
    };
    return kNames;
}

std::span<const Named<MarkNames>> mark_names_names() {
    static constexpr Named<MarkNames> kNames[] = {
        {"auto", MarkNames::Auto},
        {"trusted", MarkNames::Trusted},
        {"user", MarkNames::User},
    };
    return kNames;
}

std::span<const Named<Readers>> readers_names() {
    static constexpr Named<Readers> kNames[] = {
        {"follow", Readers::Follow},
        {"snapshot", Readers::Snapshot},
    };
    return kNames;
}

std::span<const Named<LockScope>> lock_scope_names() {
    static constexpr Named<LockScope> kNames[] = {
        {"local", LockScope::Local},
        {"branch", LockScope::Branch},
    };
    return kNames;
}

std::span<const Named<LogLevel>> log_level_names() {
    static constexpr Named<LogLevel> kNames[] = {
        {"error", LogLevel::Error},
        {"warning", LogLevel::Warning},
        {"info", LogLevel::Info},
        {"debug", LogLevel::Debug},
    };
    return kNames;
}

Category category_of(Function function) {
    if (function <= Function::Symlink) return Category::Create;
    if (function <= Function::Readlink) return Category::Search;
    return Category::Action;
}

}  // namespace plyfs::config
