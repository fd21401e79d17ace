/* placeholder until the folder has its first module */
extern int tar_placeholder_;
int tar_placeholder_;
