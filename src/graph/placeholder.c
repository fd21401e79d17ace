/* placeholder until the folder has its first module */
extern int graph_placeholder_;
int graph_placeholder_;
