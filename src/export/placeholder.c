/* placeholder until the folder has its first module */
extern int export_placeholder_;
int export_placeholder_;
