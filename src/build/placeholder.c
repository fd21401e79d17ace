/* placeholder until the folder has its first module */
extern int build_placeholder_;
int build_placeholder_;
